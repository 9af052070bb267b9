"""LiteRT in its three ways to compute, named after ``OpResolverType``.

``BUILTIN_REF``: the reference kernels, no delegate. ``BUILTIN_WITHOUT_DEFAULT_DELEGATES``: the optimised
kernels (ruy). ``BUILTIN``: the optimised kernels under the XNNPACK delegate, which is what a user gets.

To show all tensors, LiteRT gives XNNPACK one operator at a time. A delegate that has the whole graph might
join operators, so graph outputs are taken from a second interpreter that shows nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import CrosscheckError

_DELEGATED = "BUILTIN"
_WORDS = {
    "BUILTIN_REF": "BUILTIN_REF",
    "BUILTIN_WITHOUT_DEFAULT_DELEGATES": "optimised kernels, no delegate",
    _DELEGATED: "optimised kernels, XNNPACK delegate",
}


class LiteRT:
    """One model in LiteRT, every tensor kept."""

    def __init__(self, path: Path, kernels: str) -> None:
        try:
            from ai_edge_litert import interpreter as module
        except ImportError:
            raise CrosscheckError(
                "litert",
                "the package ai-edge-litert is not installed",
                "pip install 'npusim[verify]'",
            ) from None
        self.version = f"ai-edge-litert {version('ai-edge-litert')}, {_WORDS[kernels]}"
        self._all = self._open(module, path, kernels, True)
        self._whole = self._open(module, path, kernels, False) if kernels == _DELEGATED else None
        self._outputs = {d["index"] for d in self._all.get_output_details()}

    def _open(self, module: Any, path: Path, kernels: str, keep: bool) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that keeping all tensors takes memory
                interpreter = module.Interpreter(
                    model_path=str(path),
                    experimental_op_resolver_type=module.OpResolverType[kernels],
                    experimental_preserve_all_tensors=keep,
                )
                interpreter.allocate_tensors()
                return interpreter
        except (ValueError, RuntimeError) as error:
            raise CrosscheckError("litert", f"refuses {path.name}: {error}") from None

    def run(self, inputs: Mapping[int, np.ndarray], wanted: Sequence[int]) -> dict[int, np.ndarray]:
        """One inference; see ``runtimes.Runtime``."""
        found = self._run(self._all, inputs, wanted)
        if self._whole is not None:
            found |= self._run(self._whole, inputs, [n for n in wanted if n in self._outputs])
        return found

    @staticmethod
    def _run(
        interpreter: Any, inputs: Mapping[int, np.ndarray], wanted: Sequence[int]
    ) -> dict[int, np.ndarray]:
        try:
            for number, values in inputs.items():
                interpreter.set_tensor(number, values)
            interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise CrosscheckError("litert", f"stopped: {error}") from None
        found = {}
        for number in wanted:
            try:
                found[number] = interpreter.get_tensor(number)
            except ValueError:  # it has no memory: no kernel of this run wrote it
                continue
        return found


def open_runtime(path: Path, kernels: str = "BUILTIN_REF") -> LiteRT:
    """``path`` in a fresh interpreter."""
    return LiteRT(path, kernels)
