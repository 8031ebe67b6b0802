"""Prefect tasks: one module a system, one task a call, and batch tasks for fan-out."""

from tasks._run import Run, effects_of, step

__all__ = ["Run", "effects_of", "step"]
