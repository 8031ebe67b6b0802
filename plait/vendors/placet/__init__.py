"""Placet: a human review inbox (placet.md)."""
