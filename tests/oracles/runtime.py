"""LiteRT's reference kernels on a model, with its state and every tensor in reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Runtime:
    """An interpreter whose variable tensors keep their values from one :meth:`run` to the next."""

    def __init__(self, content: bytes, resolver: str = "BUILTIN_REF") -> None:
        module: Any = pytest.importorskip("ai_edge_litert.interpreter")
        self.interpreter = module.Interpreter(
            model_content=content,
            experimental_op_resolver_type=module.OpResolverType[resolver],
            experimental_preserve_all_tensors=True,
        )
        self.interpreter.allocate_tensors()
        self.details = {d["index"]: d for d in self.interpreter.get_tensor_details()}
        self.numbers = {d["name"]: d["index"] for d in self.details.values() if d["name"]}
        self.inputs = [d["index"] for d in self.interpreter.get_input_details()]
        self.outputs = [d["index"] for d in self.interpreter.get_output_details()]

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        """The first output."""
        for number, value in zip(self.inputs, inputs, strict=True):
            self.interpreter.set_tensor(number, value)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.outputs[0]).copy()

    def reset(self) -> None:
        """Variable tensors back to zero codes."""
        self.interpreter.reset_all_variables()

    def tensor(self, which: int | str) -> np.ndarray:
        number = self.numbers[which] if isinstance(which, str) else which
        return self.interpreter.get_tensor(number).copy()

    def scale(self, number: int) -> np.float32:
        return np.float32(self.details[number]["quantization_parameters"]["scales"][0])

    def zero_point(self, number: int) -> int:
        return int(self.details[number]["quantization_parameters"]["zero_points"][0])


def shared_model(name: str) -> bytes:
    """A model of ``../shared/data``; skips the test where that is not there."""
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    return path.read_bytes()
