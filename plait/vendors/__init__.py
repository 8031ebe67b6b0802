"""The vendors: one package a system, each with operations, models, client and recovery."""
