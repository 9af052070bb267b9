"""LiteRT's reference kernels (``OpResolverType.BUILTIN_REF``: no delegate, no optimised kernel)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import CrosscheckError, ModelError


class LiteRT:
    """One model in LiteRT's interpreter, every tensor kept."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".tflite":
            raise ModelError(str(path), "LiteRT runs TensorFlow Lite files only", ".tflite")
        try:
            from ai_edge_litert.interpreter import Interpreter, OpResolverType
        except ImportError:
            raise CrosscheckError(
                "litert",
                "the package ai-edge-litert is not installed",
                "pip install 'npusim[verify]'",
            ) from None
        self.version = f"ai-edge-litert {version('ai-edge-litert')}, BUILTIN_REF"
        try:
            self._interpreter: Any = Interpreter(
                model_path=str(path),
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise CrosscheckError("litert", f"refuses {path.name}: {error}") from None

    def run(self, inputs: Mapping[int, np.ndarray], wanted: list[int]) -> dict[int, np.ndarray]:
        try:
            for number, values in inputs.items():
                self._interpreter.set_tensor(number, values)
            self._interpreter.invoke()
            return {number: self._interpreter.get_tensor(number) for number in wanted}
        except (ValueError, RuntimeError) as error:
            raise CrosscheckError("litert", f"stopped: {error}") from None


def open_runtime(path: Path) -> LiteRT:
    """``path`` in a fresh interpreter."""
    return LiteRT(path)
