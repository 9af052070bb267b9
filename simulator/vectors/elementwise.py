"""Cases of operators on each element by itself, or on pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors import movements
from simulator.vectors.build import (
    ACTIVATIONS,
    CODES,
    EMPTY,
    INTEGERS,
    NUMBERS,
    Case,
    Operand,
    Result,
    Rng,
    any_scale,
    any_shape,
    any_zero_point,
    codes,
    every_code,
    next_scale,
    one_node,
    ratio_near_tie,
    real,
    result_like,
)

Make = Callable[[Rng, str, str], Case]
Attributes = Mapping[str, Attribute]
Output = Callable[[str], tuple[float, int] | None]
ALL_KINDS = ("random", "ties", "one_ulp", "corners", "zero_points", "ones", EMPTY)
_ADVERSARIAL = ("ties", "one_ulp")
_SIXTEEN_BITS = 4096  # codes of a case for ties: not all 65536


@dataclass(frozen=True)
class Cases:
    """What an operator's vectors hold: ``kinds`` in turn, each drawn by ``make``."""

    kinds: tuple[str, ...]
    make: Make


def choice(rng: Rng, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def unary(
    operator: str, *, types: Sequence[tuple[str, str]] = (("i8", "i8"), ("u8", "u8")),
    attrs: Callable[[Rng], Attributes] | None = None, output: Output | None = None,
    scales: tuple[float, float] = (1e-3, 1.0),
) -> Cases:  # fmt: skip
    """An operator on each code by itself.

    ``types``: pairs of input and output types; ``output``: output type -> its only scale and zero point,
    where the operator allows one alone.
    """

    def make(rng: Rng, kind: str, profile: str) -> Case:
        source, target = types[int(rng.integers(len(types)))]
        wide = 2.0 ** (TensorSpec((), target).bits - TensorSpec((), source).bits)
        s_in, z_in = any_scale(rng, *scales), any_zero_point(rng, source, kind)
        only = output(target) if output is not None else None
        if only is not None:
            s_out, z_out = only
        else:
            s_out = real(s_in * np.exp(rng.uniform(-2, 2)) / wide)
            if kind in _ADVERSARIAL:
                s_out = real(ratio_near_tie(rng, s_in) / wide)
            z_out = 0 if target == "i32" else any_zero_point(rng, target, kind)
        x = codes(rng, source, any_shape(rng, kind), kind)
        if kind in _ADVERSARIAL:
            x = (
                every_code(source)
                if source in INTEGERS
                else codes(rng, source, (_SIXTEEN_BITS,), kind)
            )
        if kind == "one_ulp":
            s_in = next_scale(s_in, int(rng.choice([-1, 1])))
        operand = Operand("x", x.shape, source, (s_in,), 0 if source == "i32" else z_in)
        result = Result(target, s_out, z_out)
        graph = one_node(operator, [operand], result, profile, attrs(rng) if attrs else None)
        return Case(kind, graph, {"x": x})

    return Cases(ALL_KINDS, make)


def _pair_of_scales(
    rng: Rng, kind: str, product: bool, dtype: str, profile: str = ""
) -> tuple[float, float, float]:
    """Of two operands and their result. Ties: both near small fractions of the output's scale."""
    s1, s2 = any_scale(rng, 1e-2), any_scale(rng, 1e-2)
    wide = 16 if dtype == "i16" else 8
    # The vector code of ruy wraps products of 32768 output codes or more.
    smallest = 1.1 if profile == "ruy" else -1
    s_out = real(
        s1 * s2 * 2.0 ** rng.uniform(smallest, wide)
        if product
        else max(s1, s2) * rng.uniform(0.3, 3)
    )
    if kind in _ADVERSARIAL and product:
        s1, s2 = real(s_out * rng.integers(1, 12) / 64), real(1 / rng.choice([2, 4, 6, 10, 12]))
    elif kind in _ADVERSARIAL:
        a, b, divisor = rng.integers(1, 12), rng.integers(1, 12), 2 * rng.choice([3, 5, 7])
        s1, s2 = real(s_out * a / divisor), real(s_out * b / divisor)
    if kind == "one_ulp":
        s1 = next_scale(s1, int(rng.choice([-1, 1])))
    return s1, s2, s_out


def _shapes(rng: Rng, kind: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of two operands: often equal, else one broadcast to the other, which may have more dimensions."""
    if kind in _ADVERSARIAL:
        return (32, 32), (32, 32)
    shape = any_shape(rng, kind)
    if rng.integers(3) or kind == EMPTY:
        return shape, shape
    other = tuple(1 if rng.integers(2) else size for size in shape)[int(rng.integers(len(shape))) :]
    return (shape, other) if rng.integers(2) else (other, shape)


def binary(
    operator: str, *, types: Sequence[str] = CODES, activation: bool = True, same: bool = False,
    short: bool = False,
) -> Cases:  # fmt: skip
    """An operator on pairs of codes of one type, or of numbers.

    ``same``: codes of one scale and zero point; ``short``: with the attribute that int16 sums have.
    """

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype = choice(rng, (*types, *types, "i32", "f32"))
        if dtype not in types:
            return numbers(operator, activation, short, (dtype,))(rng, kind, profile)
        shapes = _shapes(rng, kind)
        s1, s2, s_out = _pair_of_scales(rng, kind, operator == "mul", dtype, profile)
        x = Operand("x", shapes[0], dtype, (s1,), any_zero_point(rng, dtype, kind))
        z = Operand("z", shapes[1], dtype, (s2,), any_zero_point(rng, dtype, kind))
        result = Result(dtype, s_out, any_zero_point(rng, dtype, kind))
        if same:
            z, result = Operand("z", shapes[1], dtype, x.scales, x.zero_point), result_like(x)
        attrs: dict[str, Attribute] = {"activation": choice(rng, ACTIVATIONS)} if activation else {}
        if short:
            attrs["pot_scale_int16"] = int(rng.integers(2)) if dtype == "i16" else 1
        if profile == "onnxruntime" and dtype == "i8" and operator in ("add", "mul"):
            attrs["unsigned"] = int(rng.integers(2))
        inputs = {o.name: codes(rng, dtype, o.shape, kind) for o in (x, z)}
        return Case(kind, one_node(operator, [x, z], result, profile, attrs), inputs)

    return Cases(movements.KINDS if same else ALL_KINDS, make)


def numbers(
    operator: str, activation: bool, short: bool = False, types: Sequence[str] = NUMBERS
) -> Make:
    """An operator on pairs of numbers; divisors are not 0."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype, shapes = choice(rng, types), _shapes(rng, kind)
        x, z = (Operand(n, s, dtype) for n, s in zip("xz", shapes, strict=True))
        inputs = {o.name: _plain(rng, dtype, o.shape, kind) for o in (x, z)}
        if operator in ("div", "floor_div"):
            inputs["z"][inputs["z"] == 0] = 7
        attrs: dict[str, Attribute] = {"activation": choice(rng, ACTIVATIONS)} if activation else {}
        if short:
            attrs["pot_scale_int16"] = 1
        return Case(kind, one_node(operator, [x, z], Result(dtype), profile, attrs), inputs)

    return make


def _plain(rng: Rng, dtype: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Numbers that stay finite under one operation."""
    if dtype == "f32":
        return rng.normal(0, 3, shape).astype(np.float32)
    spread = 2**31 - 1 if kind == "corners" else int(rng.choice([10, 1000]))
    return rng.integers(-spread, spread, shape).astype(TensorSpec((), dtype).container)


def square_root(rng: Rng, kind: str, profile: str) -> Case:
    x = np.abs(rng.normal(0, 10, any_shape(rng, kind))).astype(np.float32)
    graph = one_node("sqrt", [Operand("x", x.shape, "f32")], Result("f32"), profile)
    return Case(kind, graph, {"x": x})


def reciprocal_root(rng: Rng, kind: str, profile: str) -> Case:
    """No code lies below the zero point: runtimes stop there."""
    s, point = any_scale(rng), int(rng.integers(-128, 100))
    x = np.maximum(codes(rng, "i8", any_shape(rng, kind), kind), np.int8(point))
    if kind in _ADVERSARIAL:
        x = np.arange(point, 128).astype(np.int8)
    result = Result(
        "i8", real(1 / np.sqrt(s) / rng.uniform(20, 300)), any_zero_point(rng, "i8", kind)
    )
    graph = one_node("rsqrt", [Operand("x", x.shape, "i8", (s,), point)], result, profile)
    return Case(kind, graph, {"x": x})


def dequantize(rng: Rng, kind: str, profile: str) -> Case:
    dtype = choice(rng, CODES)
    x = codes(rng, dtype, any_shape(rng, kind), kind)
    operand = Operand("x", x.shape, dtype, (any_scale(rng),), any_zero_point(rng, dtype, kind))
    return Case(kind, one_node("dequantize", [operand], Result("f32"), profile), {"x": x})


def quantize(rng: Rng, kind: str, profile: str) -> Case:
    """Codes to codes of another scale or type, or numbers at and beside ties to codes."""
    if rng.integers(4):
        pairs = [(a, b) for a in INTEGERS for b in INTEGERS]
        if kind not in _ADVERSARIAL:
            pairs += [("i8", "i16"), ("i16", "i8"), ("i16", "i16"), ("i32", "i8"), ("i32", "i16")]
        return unary("quantize", types=pairs).make(rng, kind, profile)
    dtype, s = choice(rng, CODES), any_scale(rng)
    halves = rng.integers(-300, 300, any_shape(rng, kind)) + 0.5
    x = (halves * s).astype(np.float32)
    x = np.nextafter(x, rng.choice(np.array([-np.inf, np.inf], np.float32), x.shape))
    result = Result(dtype, s, any_zero_point(rng, dtype, kind))
    graph = one_node("quantize", [Operand("x", x.shape, "f32")], result, profile)
    return Case(kind, graph, {"x": x.astype(np.float32)})


def prelu(rng: Rng, kind: str, profile: str) -> Case:
    """Slopes for each channel, or broadcast in another way."""
    dtype, shape = choice(rng, INTEGERS), any_shape(rng, kind)
    if kind in _ADVERSARIAL:
        shape = (16, 32)
    slopes = tuple(1 if rng.integers(3) == 0 else size for size in shape)
    slopes = slopes[int(rng.integers(len(shape))) :]
    slopes = tuple(max(size, 1) for size in slopes)
    s_in, s_alpha, s_out = _pair_of_scales(rng, kind, True, dtype)
    x = Operand("x", shape, dtype, (s_in,), any_zero_point(rng, dtype, kind))
    alpha = Operand(
        "alpha", slopes, dtype, (s_alpha,), any_zero_point(rng, dtype, kind),
        codes(rng, dtype, slopes, kind),
    )  # fmt: skip
    result = Result(dtype, s_out, any_zero_point(rng, dtype, kind))
    graph = one_node("prelu", [x, alpha], result, profile)
    return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})


_BOTH = (("i8", "i8"), ("u8", "u8"))
_THREE = (*_BOTH, ("i16", "i16"))


def _logistic(dtype: str) -> tuple[float, int]:
    return (2.0**-15, 0) if dtype == "i16" else (1 / 256, TensorSpec((), dtype).minimum)


def _tanh(dtype: str) -> tuple[float, int]:
    return (2.0**-15, 0) if dtype == "i16" else (1 / 128, 128 if dtype == "u8" else 0)


CASES: dict[str, Cases] = {
    "abs": unary("abs", types=(("i8", "i8"),)),
    "add": binary("add", short=True),
    "dequantize": Cases(movements.KINDS, dequantize),
    "div": Cases(movements.KINDS, numbers("div", True, types=("i32", "f32"))),
    "exp": unary("exp", types=(("i8", "i8"),)),
    "floor_div": Cases(movements.KINDS, numbers("floor_div", False, types=("i32", "f32"))),
    "gelu": unary("gelu", attrs=lambda rng: {"approximate": int(rng.integers(2))}),
    "hard_swish": unary("hard_swish"),
    "leaky_relu": unary(
        "leaky_relu", types=_THREE, attrs=lambda rng: {"alpha": real(rng.uniform(0, 1))}
    ),
    "logistic": unary("logistic", types=_THREE, output=_logistic, scales=(1e-4, 0.5)),
    "maximum": binary("maximum", activation=False, same=True),
    "minimum": binary("minimum", activation=False, same=True),
    "mul": binary("mul"),
    "prelu": Cases(ALL_KINDS, prelu),
    "quantize": Cases(ALL_KINDS, quantize),
    "relu": unary("relu", types=_THREE),
    "relu6": unary("relu6", types=_THREE, scales=(5e-3, 0.2)),
    "relu_n1_to_1": unary("relu_n1_to_1", scales=(2e-3, 0.05)),
    "rsqrt": Cases(ALL_KINDS, reciprocal_root),
    "sqrt": Cases(movements.KINDS, square_root),
    "sub": binary("sub", short=True),
    "tanh": unary("tanh", types=_THREE, output=_tanh, scales=(1e-4, 0.5)),
}
