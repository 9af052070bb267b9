"""ONNX Runtime's CPU kernels.

Every tensor asked for becomes an output of a copy of the model in memory. At the default level, which is
what a user gets, the runtime first joins DequantizeLinear, float operator and QuantizeLinear into one
operator of codes. Codes that are graph outputs as well do not prevent that (seen with 1.31.1), but a
float tensor between two of them does: ask for codes, and for float32 only where nothing is joined.
A convolution of int8 codes is joined only where the runtime may make them uint8, which it may not of codes
that are shown: shown ones come from float32 sums then, and differ where those sums lie near a tie.
``optimize = False`` runs every operator as the file has it; float operators between DequantizeLinear and
QuantizeLinear then sum in float32, in an order of the runtime's own.

The kernels follow the processor: x86 without VNNI saturates sums of two products of unsigned by signed
8-bit codes, and Arm adds and averages in integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import CrosscheckError, ModelError


class OnnxRuntime:
    """One model in ONNX Runtime; a session for each set of tensors asked for."""

    def __init__(self, path: Path, optimize: bool = True) -> None:
        if path.suffix.lower() != ".onnx":
            raise ModelError(str(path), "ONNX Runtime runs ONNX files only", ".onnx")
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise CrosscheckError(
                "onnxruntime",
                f"the package {error.name} is not installed",
                "pip install 'npusim[verify]'",
            ) from None
        level = "ORT_ENABLE_ALL" if optimize else "ORT_DISABLE_ALL"
        self.version = f"onnxruntime {version('onnxruntime')}, CPU, {level}"
        self._runtime: Any = onnxruntime
        self._level = level
        self._name = path.name
        self._sessions: dict[tuple[str, ...], Any] = {}
        try:
            self._model: Any = onnx.load_model_from_string(path.read_bytes())
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
        except Exception as error:
            # Decoding errors have no base of their own but Exception.
            raise CrosscheckError("onnxruntime", f"refuses {self._name}: {error}") from None
        self._made = {name for node in self._model.graph.node for name in node.output}
        self._made.discard("")
        self._session(())

    def _session(self, wanted: tuple[str, ...]) -> Any:
        """The model with ``wanted`` as further outputs, loaded."""
        if wanted in self._sessions:
            return self._sessions[wanted]
        model = type(self._model)()
        model.CopyFrom(self._model)
        there = {value.name for value in model.graph.output}
        for name in wanted:
            if name not in there:
                model.graph.output.add().name = name  # the runtime infers its type
                there.add(name)
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(
            self._runtime.GraphOptimizationLevel, self._level
        )
        try:
            self._sessions[wanted] = self._runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no base but Exception
            raise CrosscheckError("onnxruntime", f"refuses {self._name}: {error}") from None
        return self._sessions[wanted]

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """One inference: tensors by their name in the file, the inputs among them."""
        for name in wanted:
            if name not in self._made and name not in inputs:
                raise CrosscheckError("onnxruntime", f"{self._name} makes no tensor {name!r}")
        names = [name for name in dict.fromkeys(wanted) if name in self._made]
        session = self._session(tuple(names))
        try:
            values = session.run(names, dict(inputs)) if names else []
        except Exception as error:  # as above
            raise CrosscheckError("onnxruntime", f"stopped: {error}") from None
        return {**inputs, **dict(zip(names, values, strict=True))}


def open_runtime(path: Path, optimize: bool = True) -> OnnxRuntime:
    """``path`` in a fresh session, as users run it or (not ``optimize``) node by node."""
    return OnnxRuntime(path, optimize)
