"""Random weights that are nowhere stored: every tensor is drawn when it is asked for, the same for the same seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np

from serving.config import ModelShape
from serving.weights.llama import tensor_shapes
from serving.weights.tensor import Array, TensorInfo

# Spread of each weight; large enough that logits differ clearly between tokens, small enough to stay finite.
_STANDARD_DEVIATION = 0.08
_NORM_DEVIATION = 0.1
_RECIPE = 2  # raise it when the numbers drawn change


class SeededWeights:
    """serving.weights.tensor.Weights from (shape, seed); norms are near 1."""

    def __init__(self, shape: ModelShape, seed: int) -> None:
        self.label = f"random weights of seed {seed}"
        self._seed = seed
        self._shapes = tensor_shapes(shape)
        self._places = {name: place for place, name in enumerate(self._shapes)}

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Every tensor, float32."""
        return {name: TensorInfo(shape, "float32") for name, shape in self._shapes.items()}

    def read(self, name: str) -> Array:
        """Draw one tensor; it does not depend on which were drawn before."""
        drawn = np.random.default_rng([self._seed, self._places[name]]).standard_normal(
            self._shapes[name], dtype=np.float32
        )
        drawn *= np.float32(_NORM_DEVIATION if drawn.ndim == 1 else _STANDARD_DEVIATION)
        if drawn.ndim == 1:
            drawn += np.float32(1)
        return drawn


def recipe_sha256(shape: ModelShape, seed: int) -> str:
    """Stands for the sha256 of weights that no file has: equal if, and only if, the numbers drawn are."""
    recipe = [asdict(shape), seed, _RECIPE, np.__version__]  # NumPy may change its streams between versions
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
