"""What can go wrong with tracking, each in one line."""

from __future__ import annotations


class TrackingUnavailable(Exception):
    """The tracking store cannot be used; found before anything was started."""


class TrackingFailed(Exception):
    """The store was there before the run but did not take it; the run's files are complete without it."""


class NotTracked(Exception):
    """A folder that holds no run to upload."""
