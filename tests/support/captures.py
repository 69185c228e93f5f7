"""Writes folders of captured logits as the server does. Only tests use it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def write_capture(
    folder: Path,
    prompt_id: str,
    rows: np.ndarray,
    *,
    prompt_ids: list[int] | None = None,
    generated_ids: list[int] | None = None,
    positions: list[int] | None = None,
    batch_sizes: list[int] | None = None,
) -> None:
    """One request: a prompt of three tokens unless told, and a row after it and after each generated token."""
    folder.mkdir(parents=True, exist_ok=True)
    num_rows = len(rows)
    description = {
        "prompt_id": prompt_id,
        "prompt_ids": prompt_ids or [1, 2, 3],
        "generated_ids": generated_ids if generated_ids is not None else list(range(10, 10 + num_rows)),
        "positions": positions if positions is not None else list(range(2, 2 + num_rows)),
        "batch_sizes": batch_sizes if batch_sizes is not None else [4] * num_rows,
    }
    np.save(folder / f"{prompt_id}.npy", rows)
    (folder / f"{prompt_id}.json").write_text(json.dumps(description))


def random_rows(num_rows: int, vocab_size: int, seed: int = 0) -> np.ndarray:
    """Logits-like rows, float32 [num_rows, vocab_size]."""
    return np.random.default_rng(seed).normal(0, 5, (num_rows, vocab_size)).astype(np.float32)
