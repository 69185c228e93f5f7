"""Fills a MindSpore network from any source of weights, one tensor at a time.

The network is built without values (`mindspore.nn.utils.no_init_parameters`), and each parameter then takes over the
very memory that its tensor was read into: at no time is there a second copy of the model.
"""

from __future__ import annotations

from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn

from serving.weights.errors import ModelError
from serving.weights.llama import check
from serving.weights.names import hugging_face_name
from serving.weights.tensor import Array, Weights, cast

_NUMPY = {ms.float32: np.float32, ms.float16: np.float16}
_CACHES = ("key_cache", "value_cache")


def load_weights(network: nn.Cell, weights: Weights, on_tensor: Callable[[int, int], None] | None = None) -> None:
    """Give every parameter its value, in its own precision; the KV cache becomes zeros.

    Raises ModelError naming tensors that are missing, unexpected or of another shape, before any is read.
    """
    parameters = _parameters(network)
    check(weights, {name: tuple(parameter.shape) for name, parameter in parameters.items()})
    names = [name for name in weights.tensors if name in parameters]
    for done, name in enumerate(names):
        if on_tensor:
            on_tensor(done, len(names))
        try:
            _set(parameters[name], weights.read(name))
        except OverflowError as error:
            raise ModelError(f"{weights.label}: {name}: {error}; use another device.dtype") from None
    network.init_parameters_data()


def _parameters(network: nn.Cell) -> dict[str, Parameter]:
    """By Hugging Face name; the KV cache is no weight."""
    found = {}
    for own_name, parameter in network.parameters_and_names():
        if not own_name.endswith(_CACHES):
            name = hugging_face_name(own_name)
            assert name is not None, f"MindFormers' Llama has an unknown parameter {own_name}"
            found[name] = parameter
    return found


def _set(parameter: Parameter, array: Array) -> None:
    """Without a copy if the array is of the parameter's type already; bfloat16 is rounded by MindSpore."""
    if parameter.dtype in _NUMPY:
        parameter.set_data(Tensor.from_numpy(cast(array, _NUMPY[parameter.dtype])))
    else:
        parameter.set_data(Tensor.from_numpy(cast(array, np.float32)).astype(parameter.dtype))
