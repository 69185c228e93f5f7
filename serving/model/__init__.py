"""The models: where weights come from, and MindFormers' Llama. The only room that imports MindSpore and MindFormers."""

import os

# MindSpore and MindFormers read these when they are imported, so they are set before any module of this room is.
os.environ.setdefault("GLOG_v", "3")  # errors only; a log line per operator drowns what matters
os.environ["RUN_MODE"] = "predict"  # MindFormers builds its modules for inference
