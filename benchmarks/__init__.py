"""What `make bench` and `make chaos` run."""
