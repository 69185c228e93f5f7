"""Builds MindFormers' own LlamaForCausalLM from a model folder, for inference with or without the paged KV cache.

MindFormers reads RUN_MODE when modules are built: `predict` makes the network return logits only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mindformers import LlamaConfig, LlamaForCausalLM
from mindspore import Tensor, ops
from mindspore.nn.utils import no_init_parameters

from serving.config import StackConfig
from serving.model import cpu_kernels
from serving.model.kernels import operators
from serving.weights.errors import ModelError


class RowLlama(LlamaForCausalLM):
    """LlamaForCausalLM in its increment phase, every token of a step a row of its own; only wanted rows get logits."""

    has_kernels = False

    def pre_gather_func(
        self, pre_gather: bool, output: Tensor, batch_valid_length: Tensor, gather_index: Tensor | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """What the head is given of [T, 1, hidden]: the wanted rows, or both for the kernels' head, which gathers."""
        if self.has_kernels:
            return output, gather_index
        return ops.gather(output, gather_index, 0)


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json. Raises ModelError if it is no Llama's."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}/config.json: cannot be read ({error})") from error
    if config.get("model_type") != "llama":
        raise ModelError(f"{folder}/config.json: model_type={config.get('model_type')!r}; only 'llama' is supported")
    if config.get("rope_scaling"):
        raise ModelError(f"{folder}/config.json: rope_scaling={config['rope_scaling']!r} is not supported")
    return config


def llama_config(shape: dict[str, Any], seq_length: int, dtype: str, **options: Any) -> LlamaConfig:
    """MindFormers' configuration for a Hugging Face config.json and what else the caller sets."""
    dtypes = dict.fromkeys(
        ("compute_dtype", "rotary_dtype", "param_init_type", "embedding_init_type", "residual_dtype"), dtype
    )
    return LlamaConfig(
        batch_size=1,
        seq_length=seq_length,
        max_position_embedding=seq_length,
        hidden_size=shape["hidden_size"],
        num_layers=shape["num_hidden_layers"],
        num_heads=shape["num_attention_heads"],
        n_kv_heads=shape.get("num_key_value_heads") or shape["num_attention_heads"],
        vocab_size=shape["vocab_size"],
        intermediate_size=shape["intermediate_size"],
        rms_norm_eps=shape["rms_norm_eps"],
        theta=shape.get("rope_theta", 10000.0),
        tie_word_embeddings=shape.get("tie_word_embeddings", False),
        layernorm_compute_type="float32",
        softmax_compute_type="float32",
        checkpoint_name_or_path="",
        pad_token_id=-1,  # no token is padding to the network: what pads is cut off or masked by length
        **dtypes,
        **options,
    )


def paged_network(shape: dict[str, Any], stack: StackConfig, library: Path | None) -> RowLlama:
    """The network that serves. Its weights are still to be loaded.

    `library`: the CPU's kernels, which bring their own cache; None = MindFormers' operators, or their stand-ins.
    """
    device, cache = stack.device, stack.serving.cache
    config = llama_config(
        shape,
        stack.model.seq_length,
        device.dtype,
        use_past=True,
        is_dynamic=True,
        use_flash_attention=True,
        block_size=cache.block_size if library is None else 1,
        num_blocks=cache.num_blocks if library is None else 1,
        # No CPU kernel: RmsNorm; on Ascend the fused one is used. Both round once, in float32.
        fused_rms_norm=device.target == "Ascend",
        use_rope_slice=device.target != "Ascend",
    )
    with no_init_parameters():  # the values come with load_weights; drawing them costs seconds and the memory twice
        network = RowLlama(config)
    network.set_train(False)
    network.add_flags_custom(is_first_iteration=False)
    if library is not None:
        operators.install(network, library)
        network.has_kernels = True
    elif device.target != "Ascend":
        cpu_kernels.install(network)
    return network


def plain_network(shape: dict[str, Any], num_tokens: int, dtype: str) -> LlamaForCausalLM:
    """The network as MindFormers trains it: no cache, no packing; input [1, num_tokens], output [num_tokens, vocab]."""
    config = llama_config(
        shape, num_tokens, dtype, use_past=False, use_flash_attention=False, fused_rms_norm=False, use_rope_slice=True
    )
    with no_init_parameters():
        network = LlamaForCausalLM(config)
    network.set_train(False)
    return network
