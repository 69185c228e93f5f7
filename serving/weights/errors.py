"""What can be wrong with a model, each in one line fit to show a user."""

from __future__ import annotations


class ModelError(ValueError):
    """The model cannot be had, read or run: the message names the field, the value and what is allowed."""
