"""Prefect flows: one module a flow."""
