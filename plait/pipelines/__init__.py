"""Pipelines of a vendor: their definitions and history in the ledger, their runs started and watched."""
