"""Which operators ONNX Runtime makes one with the DequantizeLinear and QuantizeLinear around them.

It computes the others in float32. The rules are those of its x86 build, found by running it: it sees int8
codes as uint8 where it can turn them (a QuantizeLinear whose only reader is a DequantizeLinear with one
reader), and joins

* Conv of uint8 codes to uint8 codes by weights of 8 bits,
* MatMul and Gemm of uint8 codes to uint8 codes or to float32, Gemm of int8 likewise by int8 weights,
* element-wise operators, pools and Softmax of codes of one type,

and none of them where a Relu or Clip on the way to QuantizeLinear clamps (one beyond the codes is taken
out).
"""

from __future__ import annotations

from simulator.importers._onnx_walk import Call, Walk, clamp_of

# Operators that the runtime computes in another arithmetic than float32 where it joins them.
PRODUCTS = ("Conv", "MatMul", "Gemm")
_OTHERS = ("Add", "Mul", "AveragePool", "GlobalAveragePool", "Softmax")
# Those of them that add a zero point before they round.
_ZERO_POINT_FIRST = ("Add", "Mul", "AveragePool")
_EIGHT_BITS = ("i8", "u8")


def stays_float(w: Walk, call: Call) -> bool:
    """Whether the runtime computes ``call``, of codes here, in float32 numbers."""
    if call.op.kind != call.kind or not any(v and v.view for v in call.inputs):
        return False  # one operator in the file; or of numbers anyway
    if call.kind in PRODUCTS:
        return clamp_of(call.target)[1] is not None or not _product_joins(w, call)
    if call.kind not in _OTHERS or not call.quantized:
        return False
    return clamp_of(call.target)[1] is not None or _types(w, call) not in ({"i8"}, {"u8"})


def turns_unsigned(w: Walk, call: Call) -> bool:
    """Whether the runtime turns the int8 codes of ``call`` into uint8 ones, in an operator where zero
    points are among the float32 numbers that it rounds."""
    if call.op.kind != call.kind or call.kind not in _ZERO_POINT_FIRST or call.target.dtype != "i8":
        return False
    return _types(w, call) == {"u8"}


def _types(w: Walk, call: Call) -> set[str]:
    """Of the codes that it reads and makes, as the runtime has them."""
    return {_read_type(w, call, i) for i in range(len(call.inputs))} | {_made_type(w, call)}


def _product_joins(w: Walk, call: Call) -> bool:
    x, weights = (_read_type(w, call, i) for i in (0, 1))
    made = _made_type(w, call)
    if weights not in _EIGHT_BITS:
        return False
    if x == "u8":
        return made in (("u8",) if call.kind == "Conv" else ("u8", "f32"))
    return call.kind == "Gemm" and weights == "i8" and made in ("i8", "f32")


def _read_type(w: Walk, call: Call, index: int) -> str:
    """The type of an operand's codes as the runtime has them."""
    value = call.given(index)
    if value.constant is not None or value.dtype != "i8":
        return value.dtype
    name = call.op.input(index)
    maker = w.makers.get(name)
    if maker is None or w.uses(name) > 1:
        return "i8"
    if maker.kind != "DequantizeLinear":
        return "u8"  # the runtime puts a pair of its own after what moves codes
    quantizer = w.makers.get(maker.input(0))
    turned = quantizer is not None and quantizer.kind == "QuantizeLinear"
    return "u8" if turned and w.uses(maker.input(0)) == 1 else "i8"


def _made_type(w: Walk, call: Call) -> str:
    """The type of the result's codes as the runtime has them."""
    target = call.target
    if target.dtype != "i8" or w.uses(target.name) != 1:
        return target.dtype
    for reader in w.readers.get(target.name, []):
        if reader.kind == "DequantizeLinear" and w.uses(reader.outputs[0]) == 1:
            return "u8"
    return "i8"
