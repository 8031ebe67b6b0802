"""How flows reach schedules, the Prefect UI and other programs."""
