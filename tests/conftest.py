"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first; those that import MindSpore into this process last, since it changes how signals work."""
    order = {"unit": 0, "process": 1, "mindspore": 2}
    items.sort(key=lambda item: order[item.path.relative_to(Path(__file__).parent).parts[0]])
