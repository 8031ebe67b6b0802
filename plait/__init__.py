"""Plait's engine room: everything that works without Prefect."""
