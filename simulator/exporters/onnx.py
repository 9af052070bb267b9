"""ONNX files in QDQ form: float operators between DequantizeLinear and QuantizeLinear.

Images are NCHW inside, whatever order the input has. Weights in fewer bits than 8 are written as what they
are made of, codes and a table or factors, with the standard operators that make int8 numbers of them; a
runtime evaluates those once, when it loads the file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from simulator.coding import Coding, codes_of, factors_of, nibbles
from simulator.errors import ModelError
from simulator.exporters._onnx_parts import (
    NCHW,
    WEIGHT_ORDERS,
    Parts,
    as_unsigned,
    kernel_of,
    moved,
    saturates,
)
from simulator.graph import Graph, Node

_OPSETS, _IR_VERSION = {"": 21}, 10
_KINDS = {"i8": TensorProto.INT8, "u8": TensorProto.UINT8}
_NARROW = 4  # bits of the smallest integers that a file packs


class _Writer(Parts):
    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        # Tensor -> the value that has its codes, and the order in which that has its axes.
        self.codes: dict[str, tuple[str, tuple[int, ...]]] = {}
        self._orders: dict[tuple[str, tuple[int, ...]], str] = {}
        self.reals: dict[str, int] = {}  # tensor -> how often it is read as float32

    def write(self) -> bytes:
        inputs = [self._input(name) for name in self.graph.inputs]
        for node in self.graph.nodes:
            if node.operator not in _WRITERS:
                problem = "is not written to .onnx files"
                raise self.error(node, problem, ", ".join(sorted(_WRITERS)))
            _WRITERS[node.operator](self, node)
        outputs = [self._output(name) for name in self.graph.outputs]
        model = self.model(inputs, outputs, _OPSETS, _IR_VERSION)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    # --- inputs and outputs ----------------------------------------------------------------------

    def _file_shape(self, name: str) -> list[int]:
        tensor = self.graph.tensors[name]
        axes = tensor.file_axes or range(len(tensor.spec.shape))
        return [tensor.spec.shape[a] for a in axes]

    def _input(self, name: str) -> onnx.ValueInfoProto:
        tensor = self.graph.tensors[name]
        self.codes[name] = name, tensor.file_axes or tuple(range(len(tensor.spec.shape)))
        return helper.make_tensor_value_info(name, self._kind(name), self._file_shape(name))

    def _output(self, name: str) -> onnx.ValueInfoProto:
        tensor = self.graph.tensors[name]
        order = tensor.file_axes or tuple(range(len(tensor.spec.shape)))
        made = self.value(name, order)
        return helper.make_tensor_value_info(made, self._kind(name), self._file_shape(name))

    def _kind(self, name: str) -> int:
        spec = self.graph.spec(name)
        if spec.dtype not in _KINDS:
            problem = f"is {spec}"
            raise ModelError(f"{self.graph.name}: {name!r}", problem, "8-bit activations")
        return _KINDS[spec.dtype]

    # --- parts -----------------------------------------------------------------------------------

    def nibbles(self, name: str, values: np.ndarray) -> str:
        """A constant of 4-bit codes."""
        kind = TensorProto.INT4 if values.dtype == np.int8 else TensorProto.UINT4
        packed = nibbles(values)
        self.constants[name] = helper.make_tensor(name, kind, values.shape, packed, raw=True)
        return name

    def value(self, name: str, order: tuple[int, ...] = ()) -> str:
        """The value of a tensor's codes, its axes in ``order``; by default of an image NCHW."""
        rank = len(self.graph.spec(name).shape)
        order = order or (NCHW if rank == 4 else tuple(range(rank)))
        value, given = self.codes[name]
        if order == given:
            return value
        if (name, order) not in self._orders:
            perm = [given.index(axis) for axis in order]
            made = f"{name}/{'nchw' if order == NCHW else ''.join(map(str, order))}"
            self._orders[name, order] = self.add("Transpose", [value], made, perm=perm)
        return self._orders[name, order]

    def keep(self, name: str, value: str) -> None:
        """``value`` has the codes of tensor ``name``, of an image NCHW."""
        rank = len(self.graph.spec(name).shape)
        self.codes[name] = value, NCHW if rank == 4 else tuple(range(rank))

    def stated(self, name: str) -> list[str]:
        """Scale and zero point of a tensor, as a (de)quantizing operator takes them."""
        q, dtype = self.graph.quantization(name), self.graph.spec(name).container
        scales = np.array(q.scales if q.per_channel else q.scale, np.float32)
        points = np.array(q.zero_points if q.per_channel else q.zero_point, dtype)
        return [self.constant(f"{name}/scale", scales), self.constant(f"{name}/zero_point", points)]

    def real(self, name: str) -> str:
        """A tensor as float32, of an image NCHW, for one reader: ONNX Runtime joins an operator to a
        DequantizeLinear that nothing else reads."""
        if name in self.graph.constants:
            values = self.graph.constants[name]
            order = NCHW if values.ndim == 4 else tuple(range(values.ndim))
            self.keep(name, self.constant(name, values.transpose(order)))
        count = self.reals[name] = self.reals.get(name, 0) + 1
        given = [self.value(name), *self.stated(name)]
        return self.add("DequantizeLinear", given, f"{name}/real {count}")

    def made(self, node: Node, value: str) -> None:
        """The output of ``node``: ``value`` after its activation, quantized."""
        output = node.outputs[0]
        self._kind(output)
        given = [self.activated(node, value), *self.stated(output)]
        self.keep(output, self.add("QuantizeLinear", given, output))

    def weights(self, node: Node) -> str:
        """The constant weights of a product as float32; large ones are uint8 with zero point 128."""
        name, order = node.inputs[1], WEIGHT_ORDERS[node.operator]
        tensor, levels = self.graph.tensors[name], self.graph.constants[name]
        q = self.graph.quantization(name)
        unsigned = saturates(levels) and self.graph.spec(node.inputs[0]).dtype == "u8"
        if tensor.coding is None:
            codes = self.constant(name, self._moved(levels, unsigned).transpose(order))
        else:
            codes = self._coded(name, levels, tensor.coding, unsigned)
            if order != tuple(range(len(order))):
                codes = self.add("Transpose", [codes], f"{name}/turned", perm=order)
        scales = np.array(q.scales if q.per_channel else q.scale, np.float32)
        points = np.array(q.zero_points if q.per_channel else q.zero_point, np.int8)
        stated = [
            self.constant(f"{name}/scale", scales),
            self.constant(f"{name}/zero_point", self._moved(points, unsigned)),
        ]
        axis = order.index(q.axis) if q.per_channel else 0
        return self.add("DequantizeLinear", [codes, *stated], f"{name}/real", axis=axis)

    @staticmethod
    def _moved(levels: np.ndarray, unsigned: bool) -> np.ndarray:
        return as_unsigned(levels) if unsigned else levels

    def _coded(self, name: str, levels: np.ndarray, coding: Coding, unsigned: bool) -> str:
        """8-bit levels, made of the codes that stand for them."""
        codes = codes_of(levels, coding)
        if coding.group:
            return self._grouped(name, levels, coding, unsigned)
        table = np.array(coding.table, np.int8)
        if not coding.table:
            low, high = int(levels.min()), int(levels.max())
            most = (1 << (coding.bits - 1)) - 1
            low, high = min(low, -most), max(high, most)
            table = np.arange(low, high + 1, dtype=np.int8)[:, None]
            codes = (levels.astype(np.int16) - low).astype(np.uint8)
        table = self._moved(table, unsigned)
        rows = self.constant(f"{name}/table", table[:, 0] if coding.vector == 1 else table)
        places = self._wide(f"{name}/codes", codes, coding.bits)
        made = self.add("Gather", [rows, places], f"{name}/levels", axis=0)
        if coding.vector == 1:
            return made
        shape = self.constant(f"{name}/shape", np.array(levels.shape, np.int64))
        return self.add("Reshape", [made, shape], f"{name}/whole")

    def _wide(self, name: str, codes: np.ndarray, bits: int) -> str:
        """Packed codes as int32."""
        packed = self.nibbles(name, codes) if bits <= _NARROW else self.constant(name, codes)
        return self.add("Cast", [packed], f"{name}/wide", to=TensorProto.INT32)

    def _grouped(self, name: str, levels: np.ndarray, coding: Coding, unsigned: bool) -> str:
        last, groups = levels.shape[-1], -(-levels.shape[-1] // coding.group)
        codes, factors = codes_of(levels, coding), factors_of(levels, coding)
        padded = np.zeros((*levels.shape[:-1], groups * coding.group), np.int8)
        padded[..., :last] = codes
        parts = padded.reshape(*levels.shape[:-1], groups, coding.group)
        wide = [
            self._wide(f"{name}/codes", parts, coding.bits),
            self._wide(f"{name}/factors", factors[..., None].astype(np.uint8), coding.factor_bits),
        ]
        product = self.add("Mul", wide, f"{name}/products")
        shape = self.constant(f"{name}/padded shape", np.array(padded.shape, np.int64))
        whole = self.add("Reshape", [product, shape], f"{name}/padded")
        if padded.shape[-1] != last:
            ends = {"starts": 0, "ends": last, "axes": levels.ndim - 1}
            given = [self.constant(f"{name}/{k}", np.array([v], np.int64)) for k, v in ends.items()]
            whole = self.add("Slice", [whole, *given], f"{name}/whole")
        if unsigned:
            point = self.constant("128", np.array(128, np.int32))
            whole = self.add("Add", [whole, point], f"{name}/moved")
        kind = TensorProto.UINT8 if unsigned else TensorProto.INT8
        return self.add("Cast", [whole], f"{name}/levels", to=kind)


def write_onnx(graph: Graph) -> bytes:
    """``graph``, of 8-bit activations, as the bytes of an ``.onnx`` file."""
    return _Writer(graph).write()


def _bias(w: _Writer, node: Node) -> list[str]:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return []
    name = node.inputs[2]
    codes = w.constant(name, w.graph.constants[name])
    given = [codes, *w.stated(name)]
    return [w.add("DequantizeLinear", given, f"{name}/real", axis=0)]


def _window(node: Node) -> dict[str, Any]:
    known = dict(node.attrs)
    found = moved(node)
    if "dilation_h" in known:
        found["dilations"] = [node.integer("dilation_h"), node.integer("dilation_w")]
    return found


def _convolution(w: _Writer, node: Node) -> None:
    x, weights = (w.graph.spec(n).shape for n in node.inputs[:2])
    depthwise = node.operator == "depthwise_conv_2d"
    inputs = [w.real(node.inputs[0]), w.weights(node), *_bias(w, node)]
    groups = x[3] if depthwise else x[3] // weights[3]
    kernel = list(weights[1:3])
    name = f"{node.outputs[0]}/sums"
    w.made(node, w.add("Conv", inputs, name, group=groups, kernel_shape=kernel, **_window(node)))


def _dense(w: _Writer, node: Node) -> None:
    source = node.inputs[0]
    spec, made = w.graph.spec(source), w.graph.spec(node.outputs[0])
    if len(spec.shape) != 2 or len(made.shape) != 2:
        where = f"{w.graph.name}: FULLY_CONNECTED {node.name!r}"
        raise ModelError(where, f"multiplies {spec}", "rows, in an .onnx file: reshape before")
    inputs = [w.real(source), w.weights(node), *_bias(w, node)]
    w.made(node, w.add("Gemm", inputs, f"{node.outputs[0]}/sums", transB=1))


def _average_pool(w: _Writer, node: Node) -> None:
    kernel = kernel_of(node)
    name = f"{node.outputs[0]}/mean"
    attrs = {"kernel_shape": kernel, "count_include_pad": 0, **_window(node)}
    w.made(node, w.add("AveragePool", [w.real(node.inputs[0])], name, **attrs))


def _max_pool(w: _Writer, node: Node) -> None:
    kernel = kernel_of(node)
    output = node.outputs[0]
    given = [w.value(node.inputs[0])]
    w.keep(output, w.add("MaxPool", given, output, kernel_shape=kernel, **_window(node)))


def _mean(w: _Writer, node: Node) -> None:
    w.over_images(node)
    source, output = node.inputs[0], node.outputs[0]
    value = w.add("GlobalAveragePool", [w.real(source)], f"{output}/mean")
    if node.integer("keep_dims"):
        w.made(node, value)
        return
    given = [value, *w.stated(output)]
    codes = w.add("QuantizeLinear", given, f"{output}/kept")
    target = w.constant(f"{output}/shape", np.array(w.graph.spec(output).shape, np.int64))
    w.keep(output, w.add("Reshape", [codes, target], output))


def _binary(kind: str) -> Callable[[_Writer, Node], None]:
    def write(w: _Writer, node: Node) -> None:
        inputs = [w.real(name) for name in node.inputs]
        w.made(node, w.add(kind, inputs, f"{node.outputs[0]}/real result"))

    return write


def _unary(kind: str, **attrs: Any) -> Callable[[_Writer, Node], None]:
    def write(w: _Writer, node: Node) -> None:
        inputs = [w.real(node.inputs[0])]
        w.made(node, w.add(kind, inputs, f"{node.outputs[0]}/real result", **attrs))

    return write


def _softmax(w: _Writer, node: Node) -> None:
    image = len(w.graph.spec(node.inputs[0]).shape) == 4
    if node.real("beta") != 1.0:
        where = f"{w.graph.name}: SOFTMAX {node.name!r}"
        raise ModelError(where, f"beta {node.real('beta')}", "1, in an .onnx file")
    _unary("Softmax", axis=1 if image else -1)(w, node)


def _clip(w: _Writer, node: Node) -> None:
    output = f"{node.outputs[0]}/real result"
    w.made(node, w.clipped(w.real(node.inputs[0]), node.operator.upper(), output))


def _reshape(w: _Writer, node: Node) -> None:
    """In the order of our axes; of an image of one pixel any order will do."""
    source, output = node.inputs[0], node.outputs[0]
    before, after = w.graph.spec(source).shape, w.graph.spec(output).shape
    flat = len(before) == 4 and before[1:3] == (1, 1)
    value = w.value(source) if flat else w.value(source, tuple(range(len(before))))
    target = w.constant(f"{output}/shape", np.array(after, np.int64))
    w.codes[output] = w.add("Reshape", [value, target], output), tuple(range(len(after)))


def _transpose(w: _Writer, node: Node) -> None:
    """Nothing but another order of the same value."""
    value, given = w.codes[node.inputs[0]]
    perm = node.integers("perm")
    w.codes[node.outputs[0]] = value, tuple(perm.index(axis) for axis in given)


def _concatenation(w: _Writer, node: Node) -> None:
    rank, axis = len(w.graph.spec(node.outputs[0]).shape), node.integer("axis")
    axis %= rank
    place = NCHW.index(axis) if rank == 4 else axis
    output, inputs = node.outputs[0], [w.value(name) for name in node.inputs]
    w.keep(output, w.add("Concat", inputs, output, axis=place))


def _pad(w: _Writer, node: Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    amounts = w.graph.constants[node.inputs[1]].astype(np.int64)
    if amounts.shape[0] == 4:
        amounts = amounts[list(NCHW)]
    point = w.graph.quantization(source).zero_point
    given = [
        w.value(source), w.constant(f"{output}/amounts", amounts.T.reshape(-1)),
        w.constant(f"{output}/value", np.array(point, w.graph.spec(source).container)),
    ]  # fmt: skip
    w.keep(output, w.add("Pad", given, output))


_WRITERS: dict[str, Callable[[_Writer, Node], None]] = {
    "conv_2d": _convolution, "depthwise_conv_2d": _convolution, "fully_connected": _dense,
    "average_pool_2d": _average_pool, "max_pool_2d": _max_pool, "mean": _mean,
    "add": _binary("Add"), "sub": _binary("Sub"), "mul": _binary("Mul"),
    "reshape": _reshape, "transpose": _transpose,
    "softmax": _softmax, "concatenation": _concatenation, "pad": _pad, "relu": _unary("Relu"),
    "relu6": _clip, "relu_n1_to_1": _clip, "logistic": _unary("Sigmoid"),
    "tanh": _unary("Tanh"), "hard_swish": _unary("HardSwish"),
}  # fmt: skip
