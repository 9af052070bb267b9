"""The graph while it is being read from an ``.onnx`` file: tensors, layouts and shared quantization.

Files hold images as NCHW, we as NHWC. A value is kept in whatever order its maker left it, with
``axes`` saying which of our axes is which of the file's: ``file_value = ours.transpose(axes)``. It is
rearranged only where a reader needs another order, and then by an explicit node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.errors import ModelError
from simulator.graph import Graph, GraphTensor, Node, attributes
from simulator.graph.ir import Attribute
from simulator.importers._onnx_file import OnnxFile, ValueType, printable
from simulator.tensor import QuantParams, TensorSpec

# What an element of a constant takes to be made real and to be made a code, with what is between.
_DEQUANTIZED_BYTES = 24
QUANTIZED_BYTES = 40

Axes = tuple[int, ...]
Attrs = Mapping[str, Attribute]
# Our NHWC in the file's order NCHW.
IMAGE: Axes = (0, 3, 1, 2)

# Numbers that readers say as attributes and operators take as constant inputs: (place among the inputs,
# name).
_OPERANDS: dict[str, tuple[tuple[int, str], ...]] = {
    "mean": ((1, "axes"),),
    "arg_max": ((1, "axis"),),
    "resize_nearest_neighbor": ((1, "size"),),
    "resize_bilinear": ((1, "size"),),
}


def in_order(rank: int) -> Axes:
    """The axes of a tensor that is in the file's order."""
    return tuple(range(rank))


def inverse(axes: Axes) -> Axes:
    """The file's axis of each of ours."""
    return tuple(axes.index(i) for i in range(len(axes)))


@dataclass
class Codes:
    """Quantization of one set of codes, shared by all tensors that only move them.

    A file states it at operators, not at tensors: it may become known after the tensor.
    """

    params: QuantParams | None = None
    # Scale and zero point are tensors made at run time.
    dynamic: bool = False


@dataclass(frozen=True)
class Value:
    """A value of the file: a tensor of the graph, or a constant.

    With ``view`` the file's value is float32: the codes, dequantized with these parameters. ``name`` is
    its name in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]  # in the file's order
    tensor: str = ""
    axes: Axes = ()
    view: QuantParams | None = None
    constant: np.ndarray | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def quantized(self) -> bool:
        """Whether the value is float32 in the file and codes of few bits here."""
        return self.view is not None and int(self.dtype[1:]) <= 16


@dataclass
class _Made:
    spec: TensorSpec
    codes: Codes
    key: str
    axes: Axes


@dataclass
class Builder:
    """Tensors, constants and nodes so far."""

    file: OnnxFile
    tensors: dict[str, _Made] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    _arranged: dict[tuple[str, Axes], str] = field(default_factory=dict)
    _real: dict[str, str] = field(default_factory=dict)
    # Tensor of a constant by (key, order of axes, parameters, shape).
    _known: dict[tuple[object, ...], str] = field(default_factory=dict)

    def tensor(
        self, name: str, dtype: str, shape: tuple[int, ...], codes: Codes, key: str, axes: Axes
    ) -> str:
        """A new tensor; its name is ``name``, or that with a number where it is taken."""
        name = printable(name)
        unique, number = name, 2
        while unique in self.tensors:
            unique, number = f"{name}#{number}", number + 1
        try:
            spec = TensorSpec(shape, dtype)
        except ModelError as error:
            where = f"{self.file.name}: tensor {name!r}"
            raise ModelError(where, error.problem, error.allowed) from None
        self.tensors[unique] = _Made(spec, codes, key, axes)
        return unique

    def make(
        self,
        name: str,
        kind: ValueType,
        axes: Axes,
        codes: Codes | None = None,
        key: str | None = None,
    ) -> Value:
        """A new tensor of a file value's type, kept in the order ``axes``."""
        shape = tuple(kind.shape[i] for i in inverse(axes))
        # A graph output's own name is for the tensor in the file's order.
        moved = name in self.file.outputs and axes != in_order(len(axes))
        made = self.tensor(
            f"{name}/{layout_name(axes)}" if moved else name, kind.dtype, shape, codes or Codes(),
            name if key is None else key, axes,
        )  # fmt: skip
        return Value(name, kind.dtype, kind.shape, made, axes)

    def node(
        self, operator: str, inputs: list[str], outputs: list[str], attrs: Attrs | None = None
    ) -> None:
        """One operator, named after its output."""
        known = dict(attrs or {})
        given = list(inputs)
        for place, key in _OPERANDS.get(operator, ()):
            given.insert(place, self._integers(f"{outputs[0]}/{key}", key, known.pop(key)))
        self.nodes.append(
            Node(outputs[0], operator, tuple(given), tuple(outputs), attributes(**known))
        )

    def _integers(self, name: str, key: str, values: Attribute) -> str:
        """Whole numbers that say how to do it, as the constant operand that operators take."""
        several = isinstance(values, tuple)
        numbers = np.array(values, np.int32)
        made = self.tensor(name, "i32", numbers.shape if several else (), Codes(), "", ())
        self.constants[made] = numbers
        return made

    def stated(self, value: Value, params: QuantParams) -> Value:
        """``value`` as a reader sees it that states these parameters; the same bytes in any case."""
        if value.constant is not None:
            return replace(value, view=params)
        codes = self.tensors[value.tensor].codes
        if codes.params is None and not codes.dynamic:
            codes.params = params
        if codes.params == params:
            return value
        again = f"{self.tensors[value.tensor].key or value.tensor}/stated"
        spec = self.tensors[value.tensor].spec
        name = self.tensor(again, spec.dtype, spec.shape, Codes(params), value.name, value.axes)
        self.node("reinterpret", [value.tensor], [name])
        return replace(value, tensor=name)

    def constant(self, value: Value, axes: Axes, params: QuantParams | None = None) -> str:
        """A constant as a tensor of the graph in the order ``axes``; ``params`` are of that order."""
        assert value.constant is not None
        ours = value.constant.transpose(inverse(axes))
        same = (value.name, axes, params, ours.shape)
        if same in self._known:
            return self._known[same]
        name = self.tensor(value.name, value.dtype, ours.shape, Codes(params), value.name, axes)
        container = self.tensors[name].spec.container
        self.file.allowance.take(ours.size * container.itemsize, f"{self.file.name}: {name}")
        self.constants[name] = ours.astype(container, order="C")
        self._known[same] = name
        return name

    def arranged(self, value: Value, axes: Axes) -> str:
        """The tensor that holds ``value`` in the order ``axes``."""
        if value.constant is not None:
            return self.constant(value, axes, moved_params(value.view, axes))
        if value.axes == axes:
            return value.tensor
        source = self.tensors[value.tensor]
        perm = tuple(value.axes[i] for i in inverse(axes))
        if (value.tensor, perm) in self._arranged:
            return self._arranged[value.tensor, perm]
        shape = tuple(source.spec.shape[i] for i in perm)
        # The same file tensor in another order; or the one whose order of axes is only noted so far.
        key, kept = source.key, tuple(perm.index(i) for i in source.axes)
        if value.view is None and value.name and value.axes != source.axes:
            key, kept = value.name, axes
        name = key or value.tensor
        if kept != in_order(len(kept)) or printable(name) in self.tensors:
            name = f"{name}/{layout_name(kept)}"
        codes = source.codes
        if codes.params is not None and codes.params.per_channel:
            codes = Codes(replace(codes.params, axis=perm.index(codes.params.axis)))
        name = self.tensor(name, value.dtype, shape, codes, key, kept)
        if moves_nothing(source.spec.shape, perm):
            self.node("reshape", [value.tensor], [name], {"shape": shape})
        else:
            self.node("transpose", [value.tensor], [name], {"perm": perm})
        self._arranged[value.tensor, perm] = name
        return name

    def real(self, value: Value) -> Value:
        """``value`` as float32, dequantized where it is codes."""
        if value.view is None:
            return value
        if value.constant is not None:
            self.file.allowance.take(_DEQUANTIZED_BYTES * value.constant.size, value.name)
            return replace(value, dtype="f32", view=None, constant=dequantized(value))
        if value.tensor not in self._real:
            source = self.tensors[value.tensor]
            kind = ValueType("f32", value.shape)
            name = self.make(value.name, kind, value.axes).tensor
            assert self.tensors[name].spec.shape == source.spec.shape
            self.node("dequantize", [value.tensor], [name])
            self._real[value.tensor] = name
        return replace(value, dtype="f32", view=None, tensor=self._real[value.tensor])

    def graph(self, inputs: tuple[str, ...], outputs: tuple[str, ...], sha256: str) -> Graph:
        """The finished graph, not yet canonical."""
        tensors = {n: self._finished(n, made) for n, made in self.tensors.items()}
        return Graph(
            self.file.name, "onnxruntime", tensors, self.constants, tuple(self.nodes), inputs,
            outputs, sha256,
        )  # fmt: skip

    @staticmethod
    def _finished(name: str, made: _Made) -> GraphTensor:
        params = made.codes.params
        if params is None and not made.spec.real and made.spec.bits <= 16:
            # Codes no operator states a scale for, or whose scale is a tensor: they stand for themselves.
            params = QuantParams((1.0,), (0,))
        axes = () if made.axes == in_order(len(made.axes)) else made.axes
        return GraphTensor(name, made.spec, params, made.key, axes)


def layout_name(axes: Axes) -> str:
    """A short name for an order of axes, for the tensors made by rearranging."""
    if axes == IMAGE:
        return "nhwc"
    return "file" if axes == in_order(len(axes)) else "".join(map(str, inverse(axes)))


def moves_nothing(shape: tuple[int, ...], perm: Axes) -> bool:
    """Whether a transposition leaves the bytes as they are: only axes of size 1 change places."""
    kept = [i for i in perm if shape[i] > 1]
    return kept == sorted(kept)


def moved_params(params: QuantParams | None, axes: Axes) -> QuantParams | None:
    """Parameters along a file axis as those of our order."""
    if params is None or not params.per_channel:
        return params
    return replace(params, axis=axes[params.axis])


def along(params: QuantParams, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Scales (float32) and zero points (int64), shaped to broadcast over ``rank`` axes."""
    shape = [1] * rank
    if params.per_channel:
        shape[params.axis] = -1
    scales = np.array(params.scales, np.float32)
    points = np.array(params.zero_points, np.int64)
    return (scales.reshape(shape), points.reshape(shape)) if rank else (scales[0], points[0])


def dequantized(value: Value) -> np.ndarray:
    """A constant's real values: f32(code - zero_point) * scale, as DequantizeLinear computes them."""
    assert value.constant is not None
    assert value.view is not None
    scales, points = along(value.view, value.rank)
    return (value.constant.astype(np.int64) - points).astype(np.float32) * scales


def quantized(values: np.ndarray, params: QuantParams, dtype: str) -> np.ndarray:
    """Codes of float32 values as QuantizeLinear computes them: divide, round half to even, clamp.

    Infinities clamp; a NaN becomes the smallest code.
    """
    spec = TensorSpec((1,), dtype)
    scales, points = along(params, values.ndim)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        rounded = np.rint(values.astype(np.float32) / scales).astype(np.float64)
    codes = np.clip(np.nan_to_num(rounded, nan=-np.inf) + points, spec.minimum, spec.maximum)
    return codes.astype(spec.container)


def elements(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
