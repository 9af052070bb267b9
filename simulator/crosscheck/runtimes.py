"""The reference runtimes by name: which file runs them, with what arguments, and in which profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from simulator.errors import ModelError, UsageError
from simulator.profiles import PROFILES, Profile, profile_named

PROFILE_PREFIX = "profile:"


class Runtime(Protocol):
    """A reference runtime with one model open; it keeps the model's states between runs."""

    version: str

    def run(self, inputs: Mapping[Any, np.ndarray], wanted: Sequence[Any]) -> dict[Any, np.ndarray]:
        """One inference: tensors by their key in the model file; those it cannot show are left out."""
        ...


@dataclass(frozen=True)
class Entry:
    """One runtime.

    ``module`` is a file of this folder, ``arguments`` go to its ``open_runtime``. ``checked_with`` is
    the version that the tests of this project ran against.
    """

    name: str
    module: str
    suffix: str
    checked_with: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def profile(self) -> str:
        """The profile that this runtime confirms; '' if there is none."""
        return next((p.name for p in PROFILES.values() if p.runtime == self.name), "")

    def open(self, path: Path) -> Runtime:
        """``path`` in a fresh instance of the runtime."""
        module = import_module(f"simulator.crosscheck.{self.module}")
        return module.open_runtime(path, **self.arguments)


_LITERT = "ai-edge-litert 2.3.0"
_ALL = (
    Entry("litert", "litert", ".tflite", _LITERT, {"kernels": "BUILTIN_REF"}),
    Entry("litert-xnnpack", "litert", ".tflite", _LITERT, {"kernels": "BUILTIN"}),
    Entry(
        "litert-ruy", "litert", ".tflite", _LITERT, {"kernels": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
    ),
    Entry("onnxruntime", "onnxruntime", ".onnx", "onnxruntime 1.32.0"),
    Entry("qonnx", "qonnx", ".onnx", "qonnx 1.0.0 and onnxruntime 1.32.0"),
)
RUNTIMES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in _ALL})


def _reads(entry: Entry, path: Path) -> Entry:
    if path.suffix.lower() != entry.suffix:
        advice = f", or against {PROFILE_PREFIX}{entry.profile}" if entry.profile else ""
        raise ModelError(
            str(path), f"{entry.name} does not run {path.suffix or 'such'} files",
            f"{entry.suffix}{advice}",
        )  # fmt: skip
    return entry


def other_side(name: str | None, path: Path, profile: str) -> Entry | Profile:
    """What ``--against NAME`` means for the model file ``path``, whose own profile is ``profile``.

    A runtime, or else a profile; ``profile:NAME`` is the profile where a runtime has the same name.
    None is the runtime that confirms the file's profile.
    """
    if name is None:
        return _reads(RUNTIMES[PROFILES[profile].runtime], path)
    if name.startswith(PROFILE_PREFIX):
        return profile_named(name.removeprefix(PROFILE_PREFIX))
    if name in RUNTIMES:
        return _reads(RUNTIMES[name], path)
    if name in PROFILES:
        return PROFILES[name]
    raise UsageError(
        "against", repr(name),
        f"a runtime ({', '.join(RUNTIMES)}), a profile ({', '.join(PROFILES)}), or rtl with --layer",
    )  # fmt: skip
