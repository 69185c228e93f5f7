"""A model folder out of a GGUF file: its weights dequantised once, tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from serving.weights import folder as model_folder
from serving.weights import gguf_tokenizer, gguf_weights, safetensors_file
from serving.weights.errors import ModelError
from serving.weights.hashes import file_sha256
from serving.weights.tensor import Array

# Part of the folder's name: raise it when the conversion changes, so that no old folder is taken for a new one.
CONVERSION = 3
WEIGHTS = "model.safetensors"

Report = Callable[[str, int, int], None]


def from_gguf(
    path: Path, name: str, cache_dir: Path, report: Report, origin: str, weights: str, with_tokenizer: bool = True
) -> Path:
    """Convert a GGUF file once. The folder's name holds the file's sha256: another file never meets an old folder.

    `weights`: what the manifest says about their precision. `with_tokenizer`: take over the file's tokenizer; needless,
    and for some files impossible, when another is configured. Raises ModelError.
    """
    if not path.is_file():
        raise ModelError(f"model.path={path}: no such file; expected a GGUF file")
    report("checking the weights", 0, 0)
    sha256 = file_sha256(path)

    def fill(partial: Path) -> None:
        reader = gguf_weights.open_gguf(path)
        manifest = {"name": name, "source": origin, "source_sha256": sha256, "weights": weights}
        if with_tokenizer:  # first, since it may not be possible
            gguf_tokenizer.build(reader).save(str(partial / "tokenizer.json"))
            model_folder.write_json(partial / "tokenizer_config.json", gguf_tokenizer.tokenizer_config(reader))
            manifest["tokenizer_sha256"] = file_sha256(partial / "tokenizer.json")
        infos = gguf_weights.infos(reader)
        safetensors_file.write(partial / WEIGHTS, infos, _reporting(gguf_weights.tensors(reader), len(infos), report))
        model_folder.write_json(partial / model_folder.CONFIG, gguf_weights.llama_config(reader))
        digest = file_sha256(partial / WEIGHTS)
        told = manifest | {"weights_sha256": digest, "conversion": CONVERSION}
        model_folder.write_json(partial / model_folder.MANIFEST, told)

    ending = "" if with_tokenizer else "-bare"
    return model_folder.make(cache_dir / "models" / f"{name}-{sha256[:12]}-v{CONVERSION}{ending}", fill)


def _reporting(tensors: Iterator[tuple[str, Array]], total: int, report: Report) -> Iterator[tuple[str, Array]]:
    for done, tensor in enumerate(tensors):
        report("converting the weights", done, total)
        yield tensor
