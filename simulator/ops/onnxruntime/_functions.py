"""Functions of one number in ONNX Runtime's float32: of 8-bit codes by a table, others on the host.

Joined operators (QLinearSigmoid, QLinearLeakyRelu) fill a table of their own by the same float32
arithmetic as those between DequantizeLinear and QuantizeLinear, so there is one table here.
"""

from __future__ import annotations

import numpy as np

from simulator.fixedpoint import mlas
from simulator.fixedpoint.float32 import bits_of
from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops._expf import expf
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN
from simulator.program.commands import LaneWork, Vector
from simulator.tensor import TensorSpec

COMMAND = "vector lookup; host float_function for numbers and 16-bit codes"
PROFILES = {"onnxruntime": RUN}
EIGHT_BITS = ("i8", "u8")
CODES = (*EIGHT_BITS, "i16", "u16")
_LOOKUP_LANE = LaneWork(cycles=1, multiplies=0, adds=0, lookups=1)
# A rational function of degree 13 by 6, the longest of them.
_FUNCTION_LANE = LaneWork(cycles=16, multiplies=14, adds=13)


def codes_or_numbers(graph: Graph, node: Node) -> bool:
    """input and output are codes of 8 or 16 bits with one scale and zero point each, or float32 both"""
    names = (node.inputs[0], node.outputs[0])
    return all(graph.spec(n).real for n in names) or all(are_codes(graph, n) for n in names)


def are_codes(graph: Graph, name: str, types: tuple[str, ...] = CODES) -> bool:
    """Whether a tensor holds codes of these types with one scale."""
    params = graph.tensors[name].quantization
    return graph.spec(name).dtype in types and params is not None and not params.per_channel


def eight_bit_codes(graph: Graph, name: str) -> bool:
    """Whether a tensor holds 8-bit codes with one scale."""
    return are_codes(graph, name, EIGHT_BITS)


def one_type(graph: Graph, node: Node) -> bool:
    """input and output are both int8 or both uint8 codes with one scale each"""
    names = (node.inputs[0], node.outputs[0])
    alike = len({graph.spec(n).dtype for n in names}) == 1
    return alike and all(eight_bit_codes(graph, n) for n in names)


def code_offset(node: Node) -> int:
    """What the runtime adds to all int8 codes of ``node`` and their zero points: where it can, it has them
    as uint8 ones, which shows where zero points are among the float32 numbers."""
    return 128 * bool(dict(node.attrs).get("unsigned", 0))


RULES = (common.takes(1, 1), codes_or_numbers)


def infer(graph: Graph, node: Node) -> tuple[int, ...]:
    return graph.spec(node.inputs[0]).shape


def _coefficients(node: Node) -> tuple[float, float]:
    known = dict(node.attrs)
    alpha, beta = (known.get(key, 0.0) for key in ("alpha", "beta"))
    assert isinstance(alpha, int | float)
    assert isinstance(beta, int | float)
    return float(alpha), float(beta)


def _quantized(graph: Graph, node: Node, real: np.ndarray) -> np.ndarray:
    target, spec = graph.quantization(node.outputs[0]), graph.spec(node.outputs[0])
    return mlas.quantized(real, target.scale, target.zero_point, spec.minimum, spec.maximum)


def _real(graph: Graph, node: Node, codes: np.ndarray) -> np.ndarray:
    source = graph.quantization(node.inputs[0])
    return mlas.dequantized(codes, source.scale, source.zero_point)


def codes_of(graph: Graph, node: Node, codes: np.ndarray) -> np.ndarray:
    """Output codes of input ``codes``; int64. QUANTIZE of codes is the identity between the scales."""
    real = _real(graph, node, codes)
    if node.operator != "quantize":
        real = mlas.evaluate(node.operator, real, *_coefficients(node))
    return _quantized(graph, node, real)


def unambiguous(graph: Graph, node: Node) -> bool:
    """its codes are the same with both exponentials of the runtime: the last elements of a tensor, up to
    three, go through the C library's"""
    if graph.spec(node.inputs[0]).real:
        return False
    spec, alpha = graph.spec(node.inputs[0]), np.float32(_coefficients(node)[0])
    every = np.arange(spec.minimum, spec.maximum + 1)
    tail = [v if v >= 0 else alpha * (expf(v) - np.float32(1)) for v in _real(graph, node, every)]
    other = _quantized(graph, node, np.array(tail, np.float32))
    return bool((other == codes_of(graph, node, every)).all())


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
    if graph.spec(node.inputs[0]).real:
        return mlas.evaluate(node.operator, inputs[0], *_coefficients(node))
    return codes_of(graph, node, inputs[0])


def lower_table(graph: Graph, node: Node) -> common.Lowered:
    """A look-up in the table of all codes."""
    spec, made = graph.spec(node.inputs[0]), graph.spec(node.outputs[0])
    table = f"{node.name}/table"
    entries = codes_of(graph, node, np.arange(spec.minimum, spec.maximum + 1))
    command = Vector(
        name=node.name, operator=node.operator, function="lookup", inputs=(node.inputs[0], table),
        ofmap=node.outputs[0], nest=elementwise_nest(made.shape), parameters=(), lane=_LOOKUP_LANE,
    )  # fmt: skip
    return common.Lowered(
        (command,), {table: entries.astype(made.container)},
        tensors={table: TensorSpec((entries.size,), made.dtype)},
    )  # fmt: skip


def wide(graph: Graph, node: Node) -> bool:
    """Whether a table would be too long."""
    return any(graph.spec(n).bits > 8 for n in (node.inputs[0], node.outputs[0]))


def dequantize(graph: Graph, name: str, source: str, ofmap: str, operator: str) -> common.Lowered:
    """The host's command from codes ``source`` to float32 numbers ``ofmap``."""
    params, shape = graph.quantization(source), graph.spec(source).shape
    table = f"{name}/scales"
    # Elements that share a scale lie side by side, ``inner`` of them at a time.
    inner = int(np.prod(shape[params.axis + 1 :])) if params.per_channel else 1
    command = Vector(
        name=name, operator=operator, function="float_dequantize", inputs=(source, table),
        ofmap=ofmap, nest=elementwise_nest(shape), parameters=(("inner", inner),),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip
    values = np.stack([bits_of(np.array(params.scales)), np.array(params.zero_points, np.int32)])
    return common.Lowered((command,), {table: values}, {table: TensorSpec(values.shape, "i32")})


def quantize(graph: Graph, name: str, source: str, ofmap: str, operator: str) -> Vector:
    """The host's command from float32 numbers ``source`` to codes ``ofmap``."""
    params, spec = graph.quantization(ofmap), graph.spec(ofmap)
    (scale,) = bits_of(np.array([params.scale])).tolist()
    return Vector(
        name=name, operator=operator, function="float_quantize", inputs=(source,), ofmap=ofmap,
        nest=elementwise_nest(spec.shape),
        parameters=(
            ("scale", scale), ("zero_point_out", params.zero_point), ("clamp_min", spec.minimum),
            ("clamp_max", spec.maximum),
        ),
        lane=common.REQUANTIZE_LANE,
    )  # fmt: skip


def _function(node: Node, name: str, source: str, ofmap: str, shape: tuple[int, ...]) -> Vector:
    alpha, beta = bits_of(np.array(_coefficients(node))).tolist()
    return Vector(
        name=name, operator=node.operator, function="float_function", inputs=(source,),
        ofmap=ofmap, nest=elementwise_nest(shape),
        parameters=(
            ("function", list(mlas.FUNCTIONS).index(node.operator)), ("alpha", alpha), ("beta", beta)
        ),
        lane=_FUNCTION_LANE,
    )  # fmt: skip


def _lower_wide(graph: Graph, node: Node) -> common.Lowered:
    """Dequantized, evaluated and quantized on the host."""
    x, y, shape = node.inputs[0], node.outputs[0], infer(graph, node)
    real, made = f"{node.name}/real", f"{node.name}/value"
    first = dequantize(graph, real, x, real, node.operator)
    tensors = {**first.tensors, real: TensorSpec(shape, "f32")}
    commands = list(first.commands)
    if node.operator == "quantize":
        made = real
    else:
        commands.append(_function(node, made, real, made, shape))
        tensors[made] = TensorSpec(shape, "f32")
    commands.append(quantize(graph, node.name, made, y, node.operator))
    return common.Lowered(tuple(commands), first.constants, tensors)


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    if graph.spec(node.inputs[0]).real:
        names = node.name, node.inputs[0], node.outputs[0]
        return common.Lowered((_function(node, *names, infer(graph, node)),))
    return _lower_wide(graph, node) if wide(graph, node) else lower_table(graph, node)
