"""Planck AI: chat over a workspace's documents and databases (planck.md)."""
