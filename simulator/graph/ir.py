"""Node, tensor and graph: frozen values, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from simulator.coding import Coding
from simulator.errors import ModelError
from simulator.tensor import QuantParams, TensorSpec

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...]
Attributes = tuple[tuple[str, Attribute], ...]


def attributes(**values: Attribute) -> Attributes:
    """Attributes in a fixed order, so that equal nodes print equally."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True)
class GraphTensor:
    """A tensor of the graph; ``key`` is its number (``.tflite``) or name (``.onnx``) in the model file.

    ``file_axes`` are our axes in the file's order, where they differ: the file's value is
    ``ours.transpose(file_axes)``. A constant has its values in ``Graph.constants``, and where those
    (of uint8 ones, how far they are from 128) are stored in fewer bits than the type has, ``coding`` says
    how.
    """

    name: str
    spec: TensorSpec
    quantization: QuantParams | None
    key: int | str
    file_axes: tuple[int, ...] = ()
    coding: Coding | None = None


@dataclass(frozen=True)
class State:
    """What a model remembers from one inference to the next.

    The graph reads tensor ``name``; after each inference ``following`` becomes its value. It starts as
    ``Graph.constants[name]``.
    """

    name: str
    following: str


@dataclass(frozen=True)
class Node:
    """One operator. ``operator`` is the TFLite name in lower case; a missing optional input is ''."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Attributes = ()

    def attr(self, key: str) -> Attribute:
        for name, value in self.attrs:
            if name == key:
                return value
        raise KeyError(f"{self.name}: no attribute {key}")

    def integer(self, key: str) -> int:
        value = self.attr(key)
        assert isinstance(value, int)
        return value

    def integers(self, key: str) -> tuple[int, ...]:
        value = self.attr(key)
        assert isinstance(value, tuple)
        return tuple(int(v) for v in value)

    def real(self, key: str) -> float:
        value = self.attr(key)
        assert isinstance(value, int | float)
        return float(value)

    def text(self, key: str) -> str:
        value = self.attr(key)
        assert isinstance(value, str)
        return value


@dataclass(frozen=True)
class Graph:
    """Nodes in execution order. ``profile`` names the arithmetic the model file stands for."""

    name: str
    profile: str
    tensors: Mapping[str, GraphTensor]
    constants: Mapping[str, np.ndarray]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    sha256: str = field(default="", compare=False)
    # Tensors of the file that a pass took out by joining their operator to its neighbour.
    fused: tuple[str, ...] = ()
    states: tuple[State, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "constants", MappingProxyType(dict(self.constants)))
        known = set(self.inputs) | set(self.constants)
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in known:
                    raise ModelError(
                        f"{self.name}: {node.operator} {node.name!r}",
                        f"input {name!r} is neither a constant nor made by an earlier operator",
                    )
            for name in node.outputs:
                if name in known:
                    raise ModelError(
                        f"{self.name}: {node.operator} {node.name!r}",
                        f"tensor {name!r} is made twice",
                    )
                known.add(name)
        for name in self.outputs:
            if name not in known:
                raise ModelError(self.name, f"graph output {name!r} is made by no operator")
        for state in self.states:
            if state.name not in self.constants or state.following not in known:
                raise ModelError(self.name, f"state {state.name!r} has no first or no next value")

    @property
    def state_names(self) -> frozenset[str]:
        """Tensors that keep their values from one inference to the next."""
        return frozenset(state.name for state in self.states)

    def constant(self, name: str) -> bool:
        """Whether ``name`` has the same value in every inference."""
        return name in self.constants and name not in self.state_names

    def spec(self, name: str) -> TensorSpec:
        return self.tensors[name].spec

    def quantization(self, name: str) -> QuantParams:
        """Quantization of ``name``; an error for a tensor that has none."""
        found = self.tensors[name].quantization
        if found is None:
            raise ModelError(f"{self.name}: tensor {name!r}", "has no quantization parameters")
        return found

    def uses(self, name: str) -> list[Node]:
        """Nodes that read ``name``."""
        return [n for n in self.nodes if name in n.inputs]
