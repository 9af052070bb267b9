"""One-operator graphs made directly, and the random parts they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.graph import Graph, GraphTensor, Node, attributes
from simulator.graph.ir import Attribute
from simulator.graph.passes import canonicalize
from simulator.importers._check import check_graph
from simulator.ops import output_shapes
from simulator.tensor import QuantParams, TensorSpec

Rng = np.random.Generator
INTEGERS = ("i8", "u8")
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-3, 1.0


@dataclass(frozen=True)
class Operand:
    """An input of the operator; ``values`` make it a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_point: int = 0
    values: np.ndarray | None = None
    axis: int = 0

    @property
    def quantization(self) -> QuantParams | None:
        if not self.scales:
            return None
        return QuantParams(self.scales, (self.zero_point,) * len(self.scales), self.axis)


@dataclass(frozen=True)
class Result:
    """The type of an output; its shape follows from the operator."""

    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Case:
    """A graph of one operator, and the values of its inputs (without samples)."""

    kind: str
    graph: Graph
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


def one_node(
    operator: str, operands: Sequence[Operand], result: Result, profile: str,
    attrs: Mapping[str, Attribute] | None = None,
) -> Graph:  # fmt: skip
    """The canonical, checked graph of one operator with one output, ``y``."""
    tensors = {
        o.name: GraphTensor(o.name, TensorSpec(o.shape, o.dtype), o.quantization, o.name)
        for o in operands
    }
    params = QuantParams((result.scale,), (result.zero_point,)) if result.scale else None
    tensors["y"] = GraphTensor("y", TensorSpec((), result.dtype), params, "y")
    node = Node("y", operator, tuple(o.name for o in operands), ("y",), attributes(**(attrs or {})))
    graph = Graph(
        operator, profile, tensors, {o.name: o.values for o in operands if o.values is not None},
        (node,), tuple(o.name for o in operands if o.values is None), ("y",),
    )  # fmt: skip
    return _with_shape(graph)


def _with_shape(graph: Graph) -> Graph:
    """``graph`` with its output's shape inferred; RESHAPE takes it from its attribute."""
    (node,) = graph.nodes
    if node.operator == "reshape":
        shape = node.integers("shape")
    else:
        from simulator.graph.passes import explicit_padding

        padded = explicit_padding(graph)
        shape = output_shapes(padded, padded.nodes[0])[0]
    made = graph.tensors["y"]
    spec = TensorSpec(shape, made.spec.dtype)
    full = replace(graph, tensors={**graph.tensors, "y": replace(made, spec=spec)})
    return check_graph(canonicalize(full))


def real(value: float) -> float:
    """``value`` as the float32 that a model file would hold."""
    return float(np.float32(value))


def any_scale(rng: Rng, low: float = _SMALLEST_SCALE, high: float = _LARGEST_SCALE) -> float:
    """A float32 scale, even over magnitudes."""
    return real(np.exp(rng.uniform(np.log(low), np.log(high))))


def next_scale(value: float, steps: int) -> float:
    """The float32 ``steps`` numbers above (below) ``value``."""
    found = np.float32(value)
    for _ in range(abs(steps)):
        found = np.nextafter(found, np.float32(np.inf if steps > 0 else 0), dtype=np.float32)
    return float(found)


def any_zero_point(rng: Rng, dtype: str, kind: str) -> int:
    """Any code; for cases of kind ``zero_points`` one of the two ends."""
    spec = TensorSpec((), dtype)
    if kind == "zero_points":
        return int(rng.choice([spec.minimum, spec.maximum]))
    return int(rng.integers(spec.minimum, spec.maximum + 1))


def codes(rng: Rng, dtype: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Codes over the whole range; for cases of kind ``corners`` the two ends alone."""
    spec = TensorSpec((), dtype)
    if kind == "corners":
        return rng.choice([spec.minimum, spec.maximum], shape).astype(spec.container)
    return rng.integers(spec.minimum, spec.maximum, shape, spec.container, endpoint=True)


def every_code(dtype: str) -> np.ndarray:
    """All 256 codes of an 8-bit type in order."""
    spec = TensorSpec((), dtype)
    return np.arange(spec.minimum, spec.maximum + 1).astype(spec.container)


def any_shape(rng: Rng, kind: str, most_dimensions: int = 4) -> tuple[int, ...]:
    """One to four dimensions; for cases of kind ``ones`` some or all are 1."""
    shape = rng.integers(1, 9, rng.integers(1, most_dimensions + 1))
    if kind == "ones":
        shape[rng.random(shape.size) < 0.7] = 1
    return tuple(int(s) for s in shape)


def ratio_near_tie(rng: Rng, scale: float) -> float:
    """A scale s within two float32 steps of scale * odd / 2a, so that code a lies at a tie of scale / s."""
    a = int(rng.integers(3, 256))
    odd = 2 * int(rng.integers(a // 2, a)) + 1
    return next_scale(real(scale * 2 * a / odd), int(rng.integers(-2, 3)))
