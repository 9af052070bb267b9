"""LiteRT's kernels on a model in memory: the outside oracle of the conformance tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

# Numeric profile -> the resolver whose kernels it names: XNNPACK comes with the default one.
RESOLVERS = {
    "tflite": "BUILTIN_REF", "ruy": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "xnnpack": "AUTO",
}  # fmt: skip


class LiteRTRunner:
    """One model in an interpreter with the kernels of ``profile``, by default the reference's."""

    def __init__(self, content: bytes, profile: str = "tflite") -> None:
        module: Any = pytest.importorskip("ai_edge_litert.interpreter")
        self._interpreter = module.Interpreter(
            model_content=content,
            experimental_op_resolver_type=getattr(module.OpResolverType, RESOLVERS[profile]),
            experimental_preserve_all_tensors=profile == "tflite",
        )
        self._interpreter.allocate_tensors()
        self._inputs = {d["name"]: d["index"] for d in self._interpreter.get_input_details()}
        self._outputs = {d["name"]: d["index"] for d in self._interpreter.get_output_details()}

    @property
    def delegated(self) -> bool:
        """Whether a delegate runs any part of the model."""
        return any(op["op_name"] == "DELEGATE" for op in self._interpreter._get_ops_details())

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name; every array has samples as its first axis."""
        samples = next(iter(inputs.values())).shape[0]
        results: dict[str, list[np.ndarray]] = {name: [] for name in self._outputs}
        for i in range(samples):
            for name, number in self._inputs.items():
                self._interpreter.set_tensor(number, inputs[name][i])
            self._interpreter.invoke()
            for name, number in self._outputs.items():
                results[name].append(self._interpreter.get_tensor(number).copy())
        return {name: np.stack(values) for name, values in results.items()}
