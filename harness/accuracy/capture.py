"""A folder of captured logits: one request per <prompt_id>.npy (rows) and <prompt_id>.json (what they are).

It knows the files, not how rows are compared. The .json holds prompt_id, prompt_ids, generated_ids, chosen_ids,
positions and batch_sizes; row i of the .npy, float32 [n, vocab], is the logits after feeding the token at absolute
position positions[i], computed in a step of batch_sizes[i] sequences. chosen_ids[i] is what the model itself chose
where generated_ids[i] was written: another token only if the latter was forced on it. null: not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import orjson

from harness.accuracy.errors import UnusableInput
from harness.accuracy.npy import NpyFile, read_header
from harness.run_folder import MANIFEST


@dataclass(frozen=True, slots=True)
class Capture:
    """The captured rows of one request; the logits themselves stay on disk."""

    prompt_id: str
    prompt_ids: list[int]
    generated_ids: list[int]
    chosen_ids: list[int] | None  # the model's own choice of each output token; None if it is not known
    positions: list[int]  # ascending, one per row
    batch_sizes: list[int]  # one per row
    logits: NpyFile  # [n, vocab]

    @property
    def token_ids(self) -> list[int]:
        """Prompt and output end to end: the token at absolute position p is token_ids[p]."""
        return self.prompt_ids + self.generated_ids


def read_folder(folder: Path) -> dict[str, Capture]:
    """All captures of a folder by prompt id, in the ids' order. Raises UnusableInput naming the first bad file."""
    if not folder.is_dir():
        raise UnusableInput(folder, "is not a folder" if folder.exists() else "does not exist")
    arrays, descriptions = (
        {path.name.removesuffix(suffix): path for path in folder.glob(f"*{suffix}") if not path.name.startswith(".")}
        for suffix in (".npy", ".json")
    )
    descriptions.pop(MANIFEST.removesuffix(".json"), None)
    if not arrays and not descriptions:
        raise UnusableInput(folder, "holds no captured logits (<prompt_id>.npy with <prompt_id>.json)")
    for name in sorted(arrays.keys() ^ descriptions.keys()):
        path, missing = (arrays[name], ".json") if name in arrays else (descriptions[name], ".npy")
        raise UnusableInput(path, f"has no {name}{missing} beside it")
    return {name: _read_capture(name, descriptions[name], arrays[name]) for name in sorted(arrays)}


def order_of(prompt_id: str) -> list[tuple[int, str]]:
    """Sort key that puts prompt-9 before prompt-10, as the prompts were sent."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", prompt_id)]


def _read_capture(name: str, description: Path, array: Path) -> Capture:
    try:
        fields = orjson.loads(description.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UnusableInput(description, f"cannot be read as JSON ({error})") from error
    if not isinstance(fields, dict) or fields.get("prompt_id") != name:
        raise UnusableInput(description, f"must be an object whose prompt_id is {name!r}")
    lists = {
        key: _int_list(description, fields, key) for key in ("prompt_ids", "generated_ids", "positions", "batch_sizes")
    }
    chosen_ids: list[int] | None = lists["generated_ids"]
    if "chosen_ids" in fields:
        chosen_ids = None if fields["chosen_ids"] is None else _int_list(description, fields, "chosen_ids")
    capture = Capture(prompt_id=name, logits=read_header(array), chosen_ids=chosen_ids, **lists)
    num_rows = capture.logits.shape[0] if len(capture.logits.shape) == 2 else None
    if num_rows is None:
        raise UnusableInput(array, f"has shape {list(capture.logits.shape)}, expected [rows, vocabulary]")
    for key in ("positions", "batch_sizes"):
        if len(lists[key]) != num_rows:
            raise UnusableInput(description, f"{key} names {len(lists[key])} rows, {array.name} holds {num_rows}")
    if any(after <= before for before, after in zip(capture.positions, capture.positions[1:], strict=False)):
        raise UnusableInput(description, "positions must ascend, each once")
    num_tokens = len(capture.prompt_ids) + len(capture.generated_ids)
    if capture.positions and not 0 <= capture.positions[0] <= capture.positions[-1] < num_tokens:
        raise UnusableInput(description, f"positions must lie within the {num_tokens} tokens of prompt and output")
    return capture


def _int_list(path: Path, fields: dict[str, object], key: str) -> list[int]:
    value = fields.get(key)
    if not isinstance(value, list) or any(type(item) is not int for item in value):
        raise UnusableInput(path, f"{key} must be a list of integers")
    return value
