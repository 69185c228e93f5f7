"""Files that can be fetched by name: the 2024 contest's public ones and MindFormers' LLaMA2-7B. Facts only.

Addresses are those that the contest's participants and MindFormers' documentation publish. None of them publishes a
sha256, so most entries have none: it is recorded on the first download and said to be no more than that. Not reached
from the machine this was written on.
"""

from __future__ import annotations

from dataclasses import dataclass

_CONTEST = "https://2024-ascend-innovation-contest-mindspore.obs.cn-southwest-2.myhuaweicloud.com/topic3-infer"
_MODEL_ZOO = "https://ascend-repo-modelzoo.obs.cn-east-2.myhuaweicloud.com/MindFormers/llama2"
_LLAMA_2 = "Llama 2 Community License"
# Of Llama 2's tokenizer.model, as several repositories publish it.
_TOKENIZER_SHA256 = "9e556afd44213b6bd1be2b850ebbbd98f5481437a8021afaf58ee7fb1818d347"
_TOKENIZER_BYTES = 499_723


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file. `num_bytes` and `sha256` are None where nobody publishes them."""

    url: str
    what: str
    license: str
    num_bytes: int | None = None
    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """What the file is called where it is kept."""
        return self.url.rpartition("/")[2]


REMOTE_FILES = {
    "contest-checkpoint": RemoteFile(
        f"{_CONTEST}/llama2_7b.ckpt", "LLaMA2-7B, fp16, as the contest served it, about 13.5 GB", _LLAMA_2
    ),
    "contest-tokenizer": RemoteFile(
        f"{_CONTEST}/tokenizer.model", "its tokenizer", _LLAMA_2, _TOKENIZER_BYTES, _TOKENIZER_SHA256
    ),
    "contest-judge": RemoteFile(
        f"{_CONTEST}/performance_serving.zip",
        "the judge's client and its prompts",
        "not stated; Alpaca is CC BY-NC 4.0",
    ),
    "contest-logits": RemoteFile(
        f"{_CONTEST}/file_npy_base.zip", "logits of the contest's baseline, for accuracy.reference=legacy", "not stated"
    ),
    "contest-check": RemoteFile(f"{_CONTEST}/acc_allclose.py", "the contest's comparison of logits", "not stated"),
    "contest-server": RemoteFile(f"{_CONTEST}/llm-serving.zip", "the original server", "not stated"),
    "contest-mindformers": RemoteFile(f"{_CONTEST}/mindformers.zip", "the MindFormers it ran on", "Apache-2.0"),
    "llama2-7b": RemoteFile(
        f"{_MODEL_ZOO}/llama2_7b.ckpt", "LLaMA2-7B, fp16, of MindFormers' model zoo", _LLAMA_2, 13_476_850_247
    ),
    "llama2-tokenizer": RemoteFile(
        f"{_MODEL_ZOO}/tokenizer.model", "Llama 2's tokenizer", _LLAMA_2, _TOKENIZER_BYTES, _TOKENIZER_SHA256
    ),
}
