"""Many decisions waited for without a process: `make bench-reviews`."""
