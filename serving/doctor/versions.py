"""Which versions belong together; docs/ascend_setup.md gives the source of each. Facts only."""

from __future__ import annotations

PYTHON = "3.11"  # pyproject.toml; MindSpore Transformers recommends 3.11.4
# mindformers -> mindspore, CANN, Ascend HDK (driver and firmware): mindspore.cn/mindformers, r1.9.0, Installation.
MINDFORMERS = {"1.9.0": ("2.9.0", "9.0.0", "26.0.RC1"), "1.8.0": ("2.7.2", "8.5.0", "25.5.0")}
# MindSpore 2.9.0's own check at import (run_check/_check_version.py) accepts these; it was compiled against 9.0.0.
CANN_ACCEPTED = ("8.2", "8.3", "8.5", "9.0")
CANN_COMPILED = "9.0"
# CANN 9.1.0 release notes, "CANN and Ascend HDK Version Compatibility".
HDK_OF_CANN_9_0 = ("25.0", "25.2", "25.3", "25.5", "25.7", "26.0", "26.1")
# Python packages that CANN's operator compiler imports and requirements.lock lacks (CANN 9.0.0 installation guide).
CANN_PACKAGES = ("absl-py", "cython", "decorator", "pathlib2", "sympy")
CHIP = "910B4"
