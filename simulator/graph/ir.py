"""Node, tensor and graph: frozen values, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from simulator.errors import ModelError
from simulator.tensor import QuantParams, TensorSpec

Attribute = int | float | str | tuple[int, ...]
Attributes = tuple[tuple[str, Attribute], ...]


def attributes(**values: Attribute) -> Attributes:
    """Attributes in a fixed order, so that equal nodes print equally."""
    return tuple(sorted(values.items()))


@dataclass(frozen=True)
class GraphTensor:
    """A tensor of the graph; ``index`` is its number in the model file.

    A constant has its values in ``Graph.constants``.
    """

    name: str
    spec: TensorSpec
    quantization: QuantParams | None
    index: int


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
