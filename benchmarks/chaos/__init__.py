"""Kills real processes at every named point of the effect protocol and judges at the far end."""
