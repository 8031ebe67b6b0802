"""Pletor: AI agents and apps that make pictures and texts, with people's review inside a run (pletor.md)."""
