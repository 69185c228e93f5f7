"""Plumbline's one command: start a serving stack, time it, check its logits, log both as one verdict.

    python launch.py                                     the default experiment
    python launch.py experiment=smoke                    the whole path in seconds, without MindSpore
    python launch.py -m serving.batch.decode=1,4,8       a sweep: one MLflow parent, a child per variant

Exit status: 0 = every request finished and the logits met the bar; 1 = they did not; 2 = the configuration or the
input is wrong; 3 = a process failed to start or died; 130 = interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cli import secrets
from cli.compose import spelled_out
from cli.launch import main
from harness.run import interruption

if __name__ == "__main__":
    interruption.on_signals()
    os.chdir(Path(__file__).parent)
    sys.exit(main(secrets.to_environment(spelled_out(sys.argv[1:]))))
