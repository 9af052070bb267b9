"""QONNX's quantizers as a file states them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.fixedpoint.quantizer import ROUNDINGS, Quantizer
from simulator.importers._onnx_build import QUANTIZED_BYTES, Value, in_order
from simulator.importers._onnx_file import Op
from simulator.importers._onnx_walk import Walk
from simulator.tensor import QuantParams, TensorSpec


@dataclass(frozen=True)
class Described:
    """A quantizer of the file: its arithmetic, and what its codes are: ``real = (code - zero_point) *
    scale``."""

    arithmetic: Quantizer
    dtype: str
    scale: float

    @property
    def params(self) -> QuantParams:
        return QuantParams((self.scale,), (self.arithmetic.zero_point,))


def parameter(w: Walk, op: Op, index: int, what: str) -> np.ndarray:
    """A constant input of finite numbers."""
    found = w.array(op, index, what)
    w.allowance.take(0 if found is None else 16 * found.size, op.where)
    if found is None or found.size == 0 or not np.isfinite(found.astype(np.float64)).all():
        raise op.error(f"has no {what}", "finite numbers")
    return found


def _whole(w: Walk, op: Op, index: int, what: str) -> int:
    found = parameter(w, op, index, what)
    if found.size != 1 or float(found.reshape(-1)[0]) != int(found.reshape(-1)[0]):
        raise op.error(f"{what} {found.reshape(-1)[:4].tolist()}", "one whole number")
    return int(found.reshape(-1)[0])


def described(w: Walk, op: Op, kind: str, value: Value | None, unsigned: bool = False) -> Described:
    """The quantizer of an activation; ``value`` is what it quantizes, if that is made already, and if it is
    not, ``unsigned`` whether it has no sign."""
    scale = float(np.float32(parameter(w, op, 1, "scale").reshape(-1)[0]))
    if parameter(w, op, 1, "scale").size != 1:
        raise op.error("gives an activation several scales", "one scale")
    if not scale > 0:
        raise op.error(f"scale {scale}", "above 0")
    if kind == "BipolarQuant":
        return _bipolar(scale)
    point = _whole(w, op, 2, "zero point")
    rounding = op.text("rounding_mode", "FLOOR" if kind == "Trunc" else "ROUND").upper()
    if rounding not in ROUNDINGS:
        raise op.error(f"rounding mode {rounding!r}", ", ".join(ROUNDINGS))
    if kind == "Trunc":
        signed = not unsigned if value is None else not value.dtype.startswith("u")
        return _truncation(w, op, scale, point, rounding, signed)
    dtype, low, high = _range(w, op, _whole(w, op, 3, "bit width"), point)
    if dtype == "b1":
        return _bipolar(scale)
    arithmetic = Quantizer((scale,), point, low, high, True, rounding, False)
    return Described(arithmetic, dtype, scale)


def _range(w: Walk, op: Op, bits: int, point: int) -> tuple[str, int, int]:
    """(element type, smallest code, largest code) of Quant's attributes."""
    if not 1 <= bits <= 32:
        raise op.error(f"bit width {bits}", "1..32")
    signed, narrow = op.integer("signed", 1), op.integer("narrow", 0)
    if bits == 1 and signed:
        if point:
            raise op.error(f"zero point {point} of one signed bit", "0")
        return "b1", -1, 1
    spec = TensorSpec((), f"{'i' if signed else 'u'}{bits}")
    low, high = spec.minimum, spec.maximum
    if narrow:
        low, high = (low + 1, high) if signed else (low, high - 1)
    if not low <= point <= high:
        raise op.error(f"zero point {point}", f"{low}..{high}")
    return spec.dtype, low, high


def _truncation(
    w: Walk, op: Op, scale: float, point: int, rounding: str, signed: bool
) -> Described:
    """Trunc of both versions: five inputs, or six with a scale of its own for the output."""
    if len(op.inputs) >= 6:
        made = float(np.float32(parameter(w, op, 4, "output scale").reshape(-1)[0]))
        bits = _whole(w, op, 5, "output bit width")
        divisor = float(2.0 ** np.round(np.log2(made / scale)))
        dtype, low, high = _range(w, op, bits, 0)
        if point:
            raise op.error(f"zero point {point}", "0")
        arithmetic = Quantizer((scale, divisor), 0, low, high, True, rounding, False)
        return Described(arithmetic, dtype, made)
    bits = _whole(w, op, 4, "output bit width")
    divisor = 2.0 ** (_whole(w, op, 3, "bit width") - bits)
    spec = TensorSpec((), f"{'i' if signed else 'u'}{bits}")
    arithmetic = Quantizer(
        (scale, divisor), point, spec.minimum, spec.maximum, False, rounding, False
    )
    return Described(arithmetic, spec.dtype, scale)


def constant_codes(w: Walk, op: Op, kind: str, value: Value) -> Value:
    """Weights: the codes, with scales along at most one axis."""
    assert value.constant is not None
    if value.view is not None or value.dtype != "f32":
        raise op.error(f"quantizes constants of {value.dtype}", "f32")
    scale = parameter(w, op, 1, "scale").astype(np.float32)
    if not (scale > 0).all():
        raise op.error("has a scale that is not above 0", "above 0")
    along = [a for a, n in enumerate(scale.shape) if n > 1]
    if len(along) > 1 or (along and scale.ndim != value.rank):
        raise op.error(f"has scales of shape {list(scale.shape)}", "one, or one per channel")
    if along and scale.size != value.shape[along[0]]:
        given = f"has {scale.size} scales along axis {along[0]} of {list(value.shape)}"
        raise op.error(given, f"1 or {value.shape[along[0]]}")
    x = value.constant
    w.allowance.take(QUANTIZED_BYTES * x.size, op.where)
    w.allowance.objects(2 * scale.size, op.where)
    if kind == "BipolarQuant":
        codes, dtype, point = np.where(x >= 0, 1, -1), "b1", 0
    elif kind == "Trunc":
        raise op.error("truncates constants", "Quant or BipolarQuant of constants")
    else:
        point = _whole(w, op, 2, "zero point")
        dtype, low, high = _range(w, op, _whole(w, op, 3, "bit width"), point)
        rounding = op.text("rounding_mode", "ROUND").upper()
        if rounding not in ROUNDINGS:
            raise op.error(f"rounding mode {rounding!r}", ", ".join(ROUNDINGS))
        y = x / scale + np.float32(point)
        codes = ROUNDINGS[rounding](np.clip(y, np.float32(low), np.float32(high)))
        if dtype == "b1":
            codes = np.where(x / scale >= 0, 1, -1)
    scales = tuple(float(s) for s in scale.reshape(-1))
    params = QuantParams(scales, (point,) * len(scales), along[0] if along else 0)
    whole = codes.astype(TensorSpec((), dtype).container)
    return Value(
        op.outputs[0],
        dtype,
        value.shape,
        axes=in_order(value.rank),
        view=params,
        constant=whole,
    )


def _bipolar(scale: float) -> Described:
    return Described(Quantizer((scale,), 0, -1, 1, True, "ROUND", True), "b1", scale)


def per_channel(op: Op, values: np.ndarray, rank: int, channels: int) -> np.ndarray:
    """A parameter that is one number, or one per channel (axis 1), as (channels,) float32."""
    shape = (1,) * (rank - values.ndim) + values.shape
    channel = rank - 1 if values.ndim == 1 and rank == 2 else 1
    apart = len(shape) != rank or any(n != 1 for a, n in enumerate(shape) if a != channel)
    if values.size not in (1, channels) or (
        apart and values.size != 1 and values.shape != (channels,)
    ):
        raise op.error(f"parameter of shape {list(values.shape)}", f"1 or {channels}, along axis 1")
    return np.broadcast_to(values.reshape(-1).astype(np.float32), channels)
