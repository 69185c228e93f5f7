"""Keeps the API key out of everything that is written: it travels in the environment, never in a configuration file."""

from __future__ import annotations

import os

API_KEY = "serving.http.api_key"
VARIABLE = "PLUMBLINE_API_KEY"  # conf/config.yaml takes the key from it
_HIDDEN = "***"


def to_environment(arguments: list[str]) -> list[str]:
    """The arguments without a typed API key, which is in the environment from now on, for child processes too."""
    kept = []
    for argument in arguments:
        name, equals, value = argument.lstrip("+").partition("=")
        if name == API_KEY and equals:
            os.environ[VARIABLE] = value.strip("'\"")
        else:
            kept.append(argument)
    return kept


def redacted(params: dict[str, str]) -> dict[str, str]:
    """Flattened parameters that may be shown: whether there is a key, not which."""
    return params | {API_KEY: _HIDDEN} if params.get(API_KEY) else params
