"""Run folders as pandas frames, for notebooks."""

from analysis.frames import load_requests, load_runs

__all__ = ["load_requests", "load_runs"]
