"""Planasonix: data pipelines and connection syncs, in each dialect its backends speak (planasonix.md)."""
