"""The makers of cases: for each operator its kinds of cases, and a function that draws one.

A row is ``operator: Cases(kinds, make)`` with ``make(rng, kind, profile) -> Case``. Generic makers serve
most operators: :func:`unary`, :func:`binary` and ``movements.movement``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors import movements, products
from simulator.vectors.build import (
    ACTIVATIONS,
    INTEGERS,
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
)

Make = Callable[[Rng, str, str], Case]
Attributes = Mapping[str, Attribute]
_ALL_KINDS = ("random", "ties", "one_ulp", "corners", "zero_points", "ones")


@dataclass(frozen=True)
class Cases:
    """What an operator's vectors hold: ``kinds`` in turn, each drawn by ``make``."""

    kinds: tuple[str, ...]
    make: Make


def _choice(rng: Rng, values: Sequence[str]) -> str:
    return values[int(rng.integers(len(values)))]


def unary(
    operator: str, *, types: Sequence[tuple[str, str]] = (("i8", "i8"), ("u8", "u8")),
    attrs: Callable[[Rng], Attributes] | None = None,
    output: Callable[[str], tuple[float, int]] | None = None,
    scales: tuple[float, float] = (1e-3, 1.0),
) -> Cases:  # fmt: skip
    """An operator on each code by itself.

    ``types``: pairs of input and output types; ``output``: output type -> its only scale and zero point,
    where the operator allows one alone.
    """

    def make(rng: Rng, kind: str, profile: str) -> Case:
        source, target = types[int(rng.integers(len(types)))]
        s_in, z_in = any_scale(rng, *scales), any_zero_point(rng, source, kind)
        if output is not None:
            s_out, z_out = output(target)
        else:
            s_out = real(s_in * np.exp(rng.uniform(-2, 2)))
            if kind in ("ties", "one_ulp"):
                s_out = ratio_near_tie(rng, s_in)
            z_out = any_zero_point(rng, target, kind)
        x = codes(rng, source, any_shape(rng, kind), kind)
        if kind in ("ties", "one_ulp"):
            x = every_code(source)
        if kind == "one_ulp":
            s_in = next_scale(s_in, int(rng.choice([-1, 1])))
        operand = Operand("x", x.shape, source, (s_in,), z_in)
        result = Result(target, s_out, z_out)
        graph = one_node(operator, [operand], result, profile, attrs(rng) if attrs else None)
        return Case(kind, graph, {"x": x})

    return Cases(_ALL_KINDS, make)


def binary(
    operator: str, *, types: Sequence[str] = INTEGERS, activation: bool = True,
    attrs: Attributes | None = None, same: bool = False,
) -> Cases:  # fmt: skip
    """An operator on pairs of codes of one type; ``same``: and of one scale and zero point."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype = _choice(rng, types)
        shape = any_shape(rng, kind)
        s1, s2 = any_scale(rng, 1e-2), any_scale(rng, 1e-2)
        s_out = real(max(s1, s2) * rng.uniform(0.3, 3))
        if kind in ("ties", "one_ulp"):
            # Both near small fractions of the output's scale: many pairs sum to a tie.
            a, b, divisor = rng.integers(1, 12), rng.integers(1, 12), 2 * rng.choice([3, 5, 7])
            s1, s2, shape = real(s_out * a / divisor), real(s_out * b / divisor), (16, 16)
        if kind == "one_ulp":
            s1 = next_scale(s1, int(rng.choice([-1, 1])))
        operands, inputs, zero = [], {}, 0
        for name, scale in (("x", s1), ("z", s2)):
            zero = any_zero_point(rng, dtype, kind) if name == "x" or not same else zero
            operands.append(Operand(name, shape, dtype, (s1 if same else scale,), zero))
            inputs[name] = codes(rng, dtype, shape, kind)
        chosen = {"activation": _choice(rng, ACTIVATIONS)} if activation else {}
        result = Result(dtype, s_out, any_zero_point(rng, dtype, kind))
        if same:
            result = Result(dtype, s1, operands[0].zero_point)
        graph = one_node(operator, operands, result, profile, {**(attrs or {}), **chosen})
        return Case(kind, graph, inputs)

    return Cases(movements.KINDS if same else _ALL_KINDS, make)


def _along_axes(operator: str, scaled: bool, types: Sequence[str] = INTEGERS) -> Cases:
    """A reduction; ``scaled``: its output has a scale of its own."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype, shape = _choice(rng, types), any_shape(rng, kind)
        s_in, z_in = any_scale(rng), any_zero_point(rng, dtype, kind)
        s_out, z_out = s_in, z_in
        if scaled:
            s_out = ratio_near_tie(rng, s_in) if kind in ("ties", "one_ulp") else any_scale(rng)
            z_out = any_zero_point(rng, dtype, kind)
        if kind == "one_ulp":
            s_in = next_scale(s_in, int(rng.choice([-1, 1])))
        axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]
        if (
            rng.integers(3) == 0
        ):  # an image's height and width, for which kernels have loops of their own
            shape, axes = (
                (*any_shape(rng, kind, 1), *any_shape(rng, kind, 1) * 2, 1),
                np.array([1, 2]),
            )
            shape = (*shape[:3], int(rng.integers(1, 20)))
        operands = [Operand("x", shape, dtype, (s_in,), z_in), movements.numbers("axes", axes)]
        attrs: Attributes = {"keep_dims": int(rng.integers(2))}
        graph = one_node(operator, operands, Result(dtype, s_out, z_out), profile, attrs)
        return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})

    return Cases(_ALL_KINDS if scaled else movements.KINDS, make)


def _pool(operator: str) -> Cases:
    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype = _choice(rng, INTEGERS)
        shape, window = products.image_and_window(rng, kind, int(rng.integers(1, 9)))
        scale, zero = any_scale(rng, 1e-2), any_zero_point(rng, dtype, kind)
        x = codes(rng, dtype, shape, kind)
        if kind == "ties":
            # Two codes next to each other: windows of an even count often sum to a half.
            low = int(rng.integers(TensorSpec((), dtype).minimum, TensorSpec((), dtype).maximum))
            x = rng.choice([low, low + 1], shape).astype(x.dtype)
        attrs = {
            "activation": _choice(rng, ACTIVATIONS), "padding": window.padding,
            "kernel_h": window.kernel[0], "kernel_w": window.kernel[1],
            "stride_h": window.stride[0], "stride_w": window.stride[1],
        }  # fmt: skip
        operand = Operand("x", shape, dtype, (scale,), zero)
        graph = one_node(operator, [operand], Result(dtype, scale, zero), profile, attrs)
        return Case(kind, graph, {"x": x})

    return Cases(("random", "ties", "corners", "zero_points", "ones"), make)


def _softmax(rng: Rng, kind: str, profile: str) -> Case:
    dtype = _choice(rng, INTEGERS)
    shape = (
        *any_shape(rng, kind, 3),
        1 if kind == "ones" and rng.integers(2) else int(rng.integers(1, 40)),
    )
    x = codes(rng, dtype, shape, kind)
    if kind == "ties":  # rows of one code: equal shares
        x = np.broadcast_to(x[..., :1], shape).copy()
    s_in = any_scale(rng, 1e-3, 2.0)
    if kind == "one_ulp":
        s_in = next_scale(real(2.0 ** int(rng.integers(-9, 1))), int(rng.integers(-1, 2)))
    operand = Operand("x", shape, dtype, (s_in,), any_zero_point(rng, dtype, kind))
    attrs = {"beta": real(rng.choice([1.0, 0.3, 2.5]))}
    result = Result(dtype, 1 / 256, TensorSpec((), dtype).minimum)
    return Case(kind, one_node("softmax", [operand], result, profile, attrs), {"x": x})


_SIGNED = (("i8", "i8"),)
_SUM: Attributes = {"pot_scale_int16": 1}
_FOUR_WAYS = tuple((a, b) for a in INTEGERS for b in INTEGERS)

CASES: dict[str, Cases] = {
    "add": binary("add", attrs=_SUM),
    "average_pool_2d": _pool("average_pool_2d"),
    "conv_2d": Cases(_ALL_KINDS, products.conv_2d),
    "depthwise_conv_2d": Cases(_ALL_KINDS, products.depthwise_conv_2d),
    "exp": unary("exp", types=_SIGNED),
    "gelu": unary("gelu", attrs=lambda rng: {"approximate": int(rng.integers(2))}),
    "hard_swish": unary("hard_swish"),
    "leaky_relu": unary("leaky_relu", attrs=lambda rng: {"alpha": real(rng.uniform(0, 1))}),
    "logistic": unary("logistic", output=lambda dtype: (1 / 256, TensorSpec((), dtype).minimum)),
    "maximum": binary("maximum", activation=False, same=True),
    "minimum": binary("minimum", activation=False, same=True),
    "mul": binary("mul"),
    "sub": binary("sub", attrs=_SUM),
    "tanh": unary("tanh", output=lambda dtype: (1 / 128, 128 if dtype == "u8" else 0)),
    "fully_connected": Cases(_ALL_KINDS, products.fully_connected),
    "max_pool_2d": _pool("max_pool_2d"),
    "mean": _along_axes("mean", True),
    "quantize": unary("quantize", types=_FOUR_WAYS),
    "reduce_max": _along_axes("reduce_max", False),
    "reduce_min": _along_axes("reduce_min", False),
    "relu": unary("relu"),
    "relu6": unary("relu6", scales=(5e-3, 0.2)),
    "relu_n1_to_1": unary("relu_n1_to_1", scales=(2e-3, 0.05)),
    "softmax": Cases(_ALL_KINDS, _softmax),
    # LiteRT's reference kernel leaves the output of an int8 SUM unwritten: nothing to be equal to.
    "sum": _along_axes("sum", True, ("u8",)),
    **{name: Cases(movements.KINDS, make) for name, make in movements.MOVEMENTS.items()},
}
