"""One-operator graphs made directly, and the random parts they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node, attributes
from simulator.graph.ir import Attribute, State
from simulator.graph.passes import canonicalize, explicit_padding
from simulator.importers._check import check_graph
from simulator.ops import output_shapes
from simulator.tensor import QuantParams, TensorSpec

Rng = np.random.Generator
INTEGERS = ("i8", "u8")
CODES = (*INTEGERS, "i16")
NUMBERS = ("i32", "i64", "f32")
ELEMENTS = (*CODES, *NUMBERS)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")
# Cases without an element: outputs are empty as well, and nothing is computed.
EMPTY = "empty"
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-3, 1.0


@dataclass(frozen=True)
class Operand:
    """An input of the operator; ``values`` make it a constant, or a ``state``'s first value.

    One without a name is left out.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = "i8"
    scales: tuple[float, ...] = ()
    zero_point: int = 0
    values: np.ndarray | None = None
    axis: int = 0
    state: bool = False

    @property
    def quantization(self) -> QuantParams | None:
        if not self.scales:
            return None
        return QuantParams(self.scales, (self.zero_point,) * len(self.scales), self.axis)


@dataclass(frozen=True)
class Result:
    """The type of an output; its shape follows from the operator. Without a scale it is numbers."""

    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class Case:
    """A graph of one operator, and the values of its inputs.

    An operator that remembers is called several times: its inputs have the calls as their first axis.
    """

    kind: str
    graph: Graph
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """0 for an operator that does not remember, which is called once."""
        return next(iter(self.inputs.values())).shape[0] if self.graph.states else 0


class _EmptySpec(TensorSpec):
    """Of a tensor without an element, which no model may have."""

    def __post_init__(self) -> None:
        return


def _spec(shape: tuple[int, ...], dtype: str) -> TensorSpec:
    return _EmptySpec(shape, dtype) if 0 in shape else TensorSpec(shape, dtype)


def one_node(
    operator: str, operands: Sequence[Operand], results: Result | Sequence[Result], profile: str,
    attrs: Mapping[str, Attribute] | None = None,
) -> Graph:  # fmt: skip
    """The canonical, checked graph of one operator with the output ``y``, or ``y0``, ``y1`` and so on."""
    given = [o for o in operands if o.name]
    made = {"y": results} if isinstance(results, Result) else _numbered(results)
    tensors = {
        o.name: GraphTensor(o.name, _spec(o.shape, o.dtype), o.quantization, o.name) for o in given
    }
    for name, result in made.items():
        params = QuantParams((result.scale,), (result.zero_point,)) if result.scale else None
        tensors[name] = GraphTensor(name, TensorSpec((), result.dtype), params, name)
    states = tuple(State(o.name, f"{o.name}/next") for o in given if o.state)
    for state in states:
        tensors[state.following] = replace(tensors[state.name], name=state.following, key="")
    outputs = (*made, *(state.following for state in states))
    node = Node(
        next(iter(made)), operator, tuple(o.name for o in operands), outputs,
        attributes(**(attrs or {})),
    )  # fmt: skip
    graph = Graph(
        operator, profile, tensors, {o.name: o.values for o in given if o.values is not None},
        (node,), tuple(o.name for o in given if o.values is None), tuple(made), states=states,
    )  # fmt: skip
    return _with_shapes(graph)


def _numbered(results: Sequence[Result]) -> dict[str, Result]:
    return {f"y{i}": result for i, result in enumerate(results)}


def _with_shapes(graph: Graph) -> Graph:
    """``graph`` with its outputs' shapes inferred; RESHAPE takes its own from its attribute."""
    (node,) = graph.nodes
    if node.operator in ("reshape", "reinterpret"):
        shapes = [node.integers("shape")]
    else:
        padded = explicit_padding(graph)
        shapes = output_shapes(padded, padded.nodes[0])
    tensors = dict(graph.tensors)
    for name, shape in zip(node.outputs, shapes, strict=True):
        tensors[name] = replace(tensors[name], spec=_spec(shape, graph.spec(name).dtype))
    found = canonicalize(replace(graph, tensors=tensors))
    made = [found.spec(name).elements for name in found.outputs]
    if any(found.spec(name).elements == 0 for name in found.inputs):
        if any(made):
            raise ModelError("vectors", "an output of nothing is not empty")
        return found
    return check_graph(found)


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
    if dtype == "i16":  # of 16 bits they are symmetric
        return 0
    if kind == "zero_points":
        return int(rng.choice([spec.minimum, spec.maximum]))
    return int(rng.integers(spec.minimum, spec.maximum + 1))


def codes(rng: Rng, dtype: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Codes over the whole range; for cases of kind ``corners`` the two ends alone. Of numbers some are
    what is easily lost: infinities, NaN, a negative zero, the smallest."""
    if dtype == "f32":
        values = rng.normal(0, 1000, shape).astype(np.float32)
        odd = rng.choice(np.array([np.inf, -np.inf, np.nan, -0.0, 1e-42], np.float32), shape)
        return np.where(rng.random(shape) < (1.0 if kind == "corners" else 0.1), odd, values)
    spec = TensorSpec((), dtype)
    if kind == "corners" or spec.bipolar:
        return rng.choice([spec.minimum, spec.maximum], shape).astype(spec.container)
    return rng.integers(spec.minimum, spec.maximum, shape, spec.container, endpoint=True)


def every_code(dtype: str) -> np.ndarray:
    """All 256 codes of an 8-bit type in order."""
    spec = TensorSpec((), dtype)
    return np.arange(spec.minimum, spec.maximum + 1).astype(spec.container)


def activation_of(rng: Rng, name: str, shape: tuple[int, ...], dtype: str, kind: str) -> Operand:
    """An activation: codes with any scale and zero point, or numbers."""
    if dtype not in CODES:
        return Operand(name, shape, dtype)
    return Operand(name, shape, dtype, (any_scale(rng),), any_zero_point(rng, dtype, kind))


def result_like(operand: Operand) -> Result:
    """An output of an operand's type, scale and zero point."""
    return Result(operand.dtype, operand.scales[0] if operand.scales else 0.0, operand.zero_point)


def any_shape(rng: Rng, kind: str, most_dimensions: int = 4) -> tuple[int, ...]:
    """One to four dimensions; for cases of kind ``ones`` some or all are 1."""
    shape = rng.integers(1, 9, rng.integers(1, most_dimensions + 1))
    if kind == "ones":
        shape[rng.random(shape.size) < 0.7] = 1
    if kind == EMPTY:
        shape[0] = 0
    return tuple(int(s) for s in shape)


def ratio_near_tie(rng: Rng, scale: float) -> float:
    """A scale s within two float32 steps of scale * odd / 2a, so that code a lies at a tie of scale / s."""
    a = int(rng.integers(3, 256))
    odd = 2 * int(rng.integers(a // 2, a)) + 1
    return next_scale(real(scale * 2 * a / odd), int(rng.integers(-2, 3)))
