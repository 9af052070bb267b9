"""QONNX's own execution: its quantizers in numpy, every other operator by ONNX Runtime, node by node."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import CrosscheckError, ModelError

# What the single-node models say of themselves: old enough for every runtime in use.
_IR_VERSION = 8


class Qonnx:
    """One model in QONNX's executor."""

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() != ".onnx":
            raise ModelError(str(path), "QONNX runs ONNX files only", ".onnx")
        try:
            import qonnx.core.onnx_exec as execution
            from qonnx.core.modelwrapper import ModelWrapper
            from qonnx.transformation.infer_shapes import InferShapes
        except ImportError as error:
            raise CrosscheckError(
                "qonnx",
                f"the package {error.name} is not installed",
                "pip install 'npusim[verify]'",
            ) from None
        self.version = f"qonnx {version('qonnx')}, onnxruntime {version('onnxruntime')}"
        self._execution: Any = execution
        try:
            self._model: Any = ModelWrapper(str(path)).transform(InferShapes())
        except Exception as error:  # the packages' errors have no base of their own
            raise CrosscheckError("qonnx", f"refuses {path.name}: {error}") from None

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """One inference: tensors by their name in the file."""
        plain = self._execution.qonnx_make_model
        self._execution.qonnx_make_model = lambda *args, **more: _aged(plain(*args, **more))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that files do not say the shapes of their tensors
                found = self._execution.execute_onnx(self._model, dict(inputs), True)
        except Exception as error:  # as above
            raise CrosscheckError("qonnx", f"stopped: {error}") from None
        finally:
            self._execution.qonnx_make_model = plain
        missing = [name for name in wanted if name not in found]
        if missing:
            raise CrosscheckError("qonnx", f"makes no tensor {missing[0]!r}")
        return {name: found[name] for name in wanted}


def _aged(model: Any) -> Any:
    model.ir_version = _IR_VERSION
    return model


def open_runtime(path: Path) -> Qonnx:
    """``path`` in a fresh executor."""
    return Qonnx(path)
