"""ONNX files, quantized: operators of codes (QOperator), or float operators between
DequantizeLinear and QuantizeLinear (QDQ)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

from simulator.errors import ModelError
from simulator.graph import Graph
from simulator.graph.passes import canonicalize
from simulator.importers import _onnx_elementwise as elementwise
from simulator.importers import _onnx_joins as joins
from simulator.importers import _onnx_moves as moves
from simulator.importers import _onnx_products as products
from simulator.importers import _onnx_quantization as quantization
from simulator.importers import _onnx_windows as windows
from simulator.importers import qonnx
from simulator.importers._check import check_graph
from simulator.importers._onnx_build import Builder, Value, in_order
from simulator.importers._onnx_coding import with_codings
from simulator.importers._onnx_file import OnnxFile, Op, ValueType, parse, printable
from simulator.importers._onnx_shapes import Values, propagate
from simulator.importers._onnx_walk import Call, Reader, Walk
from simulator.ops import constant_values

# Operators by their float name, each a function of its operands: quantized, or (where the host can
# compute it) in float32.
_PRODUCTS: dict[str, Reader] = {
    "Conv": products.conv, "MatMul": products.matmul, "Gemm": products.gemm,
}  # fmt: skip
_CALLS: dict[str, Reader] = {
    **_PRODUCTS,
    **dict.fromkeys(elementwise.BINARY, elementwise.binary),
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    "AveragePool": windows.average_pool,
    "GlobalAveragePool": windows.global_average_pool,
    "ReduceMean": windows.reduce_mean,
    "Softmax": elementwise.softmax,
    "Concat": moves.concat,
}
# What the runtime computes in float32 whatever is around it, and we as well.
_REAL = {"ReduceMean"}
# Operands that are numbers; what follows them says how.
_OPERANDS = {"Conv": 3, "Gemm": 3, "MatMul": 2, **dict.fromkeys(elementwise.BINARY, 2)}

# Everything else, each a function of the node.
_NODES: dict[str, Callable[[Walk, Op], None]] = {
    "QuantizeLinear": quantization.quantize_linear,
    "DequantizeLinear": quantization.dequantize_linear,
    "DynamicQuantizeLinear": quantization.dynamic_quantize_linear,
    "ConvInteger": products.conv_integer,
    "MatMulInteger": products.matmul_integer,
    "MaxPool": windows.max_pool,
    "GlobalMaxPool": windows.global_max_pool,
    "Resize": windows.resize,
    "Upsample": windows.resize,
    "DepthToSpace": windows.space,
    "SpaceToDepth": windows.space,
    "Relu": elementwise.clamp,
    "Clip": elementwise.clamp,
    "Identity": moves.identity,
    "Dropout": moves.identity,
    "Cast": moves.cast,
    "Transpose": moves.transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), moves.reshape),
    "Slice": moves.slice_,
    "Split": moves.split,
    "Gather": moves.gather,
    "Pad": moves.pad,
    "ArgMax": moves.arg_max,
}
_QOPERATORS = (*quantization.QOPERATORS, "QLinearConcat")


def supported_operators() -> list[str]:
    """ONNX operators this importer reads."""
    return sorted({*_CALLS, *_NODES, *_QOPERATORS, "Constant", "Shape", "Size"})


def read_onnx(content: bytes, name: str, *, check: bool = True, real: bool = False) -> Graph:
    """The canonical graph of an ``.onnx`` file's bytes.

    With ``check`` each node has met its operator's rules. ``real``: of a float model, whose products of
    float32 numbers and batch norms become nodes as well, for ``simulator.quantization`` to read.
    """
    file = parse(content, name)
    if qonnx.is_qonnx(file):
        allowed = ", ".join(qonnx.supported_operators())
        reader = qonnx.Reader(file, _needed(propagate(file, qonnx.CUSTOM_TYPES, allowed), file))
        inputs = tuple(_input(reader.w, n, kind) for n, kind in file.inputs.items())
        graph = reader.graph(inputs, hashlib.sha256(content).hexdigest())
        graph = canonicalize(graph, constant_values)
        return check_graph(graph) if check else graph
    values = _needed(propagate(file, {}, ", ".join(supported_operators())), file)
    walk = Walk(Builder(file), values, real)
    inputs = tuple(_input(walk, n, kind) for n, kind in file.inputs.items())
    for op in values.ops:
        if op.index not in walk.done:
            _read(walk, op)
    outputs = tuple(_output(walk, n) for n in file.outputs)
    graph = walk.build.graph(inputs, outputs, hashlib.sha256(content).hexdigest())
    graph = with_codings(canonicalize(graph, constant_values), file, values)
    return check_graph(graph) if check else graph


def _needed(values: Values, file: OnnxFile) -> Values:
    """Without the nodes that no output depends on."""
    wanted, kept = set(file.outputs), list[Op]()
    for op in reversed(values.ops):
        if wanted & set(op.outputs):
            kept.append(op)
            wanted.update(op.inputs)
    return replace(values, ops=tuple(reversed(kept)))


def _input(w: Walk, name: str, kind: ValueType) -> str:
    if kind.dtype in ("bool", "f16", "f64"):
        where = f"{w.build.file.name}: input {printable(name)!r}"
        raise ModelError(where, f"element type {kind.dtype}", "f32, or integers")
    w.env[name] = w.build.make(name, kind, in_order(len(kind.shape)))
    return w.env[name].tensor


def _output(w: Walk, name: str) -> str:
    """The tensor of a graph output, in the file's order; one of its own where it has another name."""
    value = w.value(name)
    if value is None:
        raise ModelError(w.build.file.name, "has an output without a name", "names")
    if value.constant is not None:
        return w.build.arranged(w.build.real(value), in_order(value.rank))
    value = w.build.real(w.in_file_order(value))
    made = w.build.tensors[value.tensor]
    if made.key == name:
        return value.tensor
    copy = w.build.tensor(name, value.dtype, value.shape, made.codes, name, value.axes)
    w.build.node("reshape", [value.tensor], [copy], {"shape": value.shape})
    return copy


def _read(w: Walk, op: Op) -> None:
    if op.kind in _QOPERATORS:
        call = quantization.qoperator(w, op)
        _CALLS[call.kind](w, call)
    elif op.kind in _NODES:
        _NODES[op.kind](w, op)
    elif op.kind == "BatchNormalization" and w.real_products:
        products.batch_normalization(w, op)
    elif op.kind in _CALLS:
        _float_operator(w, op)
    else:
        raise op.error("is not supported", ", ".join(supported_operators()))


def _float_operator(w: Walk, op: Op) -> None:
    """A float operator: quantized where its operands come from codes and its result becomes codes."""
    count = len(op.inputs) if op.kind == "Concat" else _OPERANDS.get(op.kind, 1)
    inputs = tuple(w.value(op.input(i)) for i in range(min(count, len(op.inputs))))
    if op.kind == "Concat" and _one_scale(inputs):
        moves.plain_concat(w, op, [v for v in inputs if v is not None])
        return
    operands = inputs[:2] if op.kind in _PRODUCTS else inputs
    quantized = all(v is not None and v.quantized for v in operands) and any(
        v is not None and v.constant is None for v in operands
    )
    quantized = quantized and op.kind not in _REAL
    target = w.target(op) if quantized else None
    if target is not None:
        call = Call(op, op.kind, inputs, target)
    elif op.kind in _PRODUCTS:
        call = _unquantized_product(w, op, inputs)
    else:
        call = w.float_call(op, inputs)
    alone, unsigned = joins.stays_float(w, call), joins.turns_unsigned(w, call)
    _CALLS[op.kind](w, replace(call, alone=alone, unsigned=unsigned))


def _one_scale(inputs: tuple[Value | None, ...]) -> bool:
    """Whether all parts are codes, or seen as float32, of one type, scale and zero point."""
    first = inputs[0] if inputs else None
    alike = all(
        v is not None and first is not None and (v.view, v.dtype) == (first.view, first.dtype)
        for v in inputs
    )
    return alike and first is not None and (first.quantized or first.view is None)


def _unquantized_product(w: Walk, op: Op, inputs: tuple[Value | None, ...]) -> Call:
    """A product whose result stays float32: that of the int32 sums of its codes."""
    operands = [v for v in inputs[:2] if v is not None and not v.quantized]
    if operands and w.real_products:
        return w.float_call(op, inputs)
    if operands:
        names = ", ".join(repr(printable(v.name)) for v in operands)
        raise op.error(
            f"multiplies float32 numbers ({names})",
            "operands from DequantizeLinear: quantize the model first",
        )
    return replace(w.float_call(op, ()), inputs=inputs)
