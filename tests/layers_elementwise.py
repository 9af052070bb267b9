"""Random element-wise layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from layer_parts import (
    SAMPLES,
    Layer,
    Rng,
    activation,
    any_shape,
    codes,
    elementwise,
    one_input,
    point,
    scale,
    zero_point,
)
from tflite_builder import Op, Tensor

F32 = np.float32
_CONTAINERS = {"i32": np.int32, "i64": np.int64, "f32": np.float32}


def broadcasting(rng: Rng) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Two shapes of up to five dimensions that broadcast, often equal, and the output's."""
    out = [int(v) for v in rng.integers(1, 6, rng.integers(1, 6))]
    out[-1] = int(rng.integers(1, 40))
    if np.prod(out) > 1500:
        out = out[-3:]
    shapes = []
    for _ in range(2):
        shape = [1 if rng.integers(3) == 0 else size for size in out]
        shape = shape[int(rng.integers(len(out) + 1)) if rng.integers(4) == 0 else 0 :]
        shapes.append(tuple(out) if rng.integers(2) else tuple(shape))
    return shapes[0], shapes[1], np.broadcast_shapes(*shapes)


def _two(
    rng: Rng, kind: str, tensors: list[Tensor], values: list[np.ndarray], options: dict[str, Any]
) -> Layer:
    """An operator on tensors ``x`` and ``z``; one of them may be a constant, or both the same."""
    x, z, y = tensors
    bounded = ("x", "z") if kind in ("DIV", "FLOOR_DIV") else ()
    constant = int(rng.integers(5))  # 0: x, 1: z, else none
    if constant < 2:
        name, value = ("x", "z")[constant], values[constant][0]
        fixed = [
            Tensor(t.name, t.shape, t.dtype, t.scale, t.zero_point, value) if t.name == name else t
            for t in (x, z, y)
        ]
        op = Op(kind, ["x", "z"], "y", options)
        other = "z" if constant == 0 else "x"
        return Layer(fixed, [op], {other: values[1 - constant]}, ["y"], bounded)
    if x.shape == z.shape and x.dtype != "i16" and rng.integers(6) == 0:  # x + x
        op = Op(kind, ["x", "x"], "y", options)
        return Layer([x, y], [op], {"x": values[0]}, ["y"], bounded)
    op = Op(kind, ["x", "z"], "y", options)
    return Layer([x, z, y], [op], {"x": values[0], "z": values[1]}, ["y"], bounded)


def numbers(rng: Rng, kind: str, code: str, options: dict[str, Any]) -> Layer:
    """Two operands that are plain numbers, divisors without zeros."""
    shapes = broadcasting(rng)
    values = []
    for shape in shapes[:2]:
        if code == "f32":
            value = rng.normal(0, 3, (SAMPLES, *shape)).astype(F32)
        else:
            spread = int(rng.choice([10, 1000, 2**31 - 1]))
            value = rng.integers(-spread, spread, (SAMPLES, *shape)).astype(_CONTAINERS[code])
        values.append(value)
    if kind in ("DIV", "FLOOR_DIV"):
        for value in values:
            value[value == 0] = 7
    tensors = [Tensor(n, s, code) for n, s in zip(("x", "z", "y"), shapes, strict=True)]
    return _two(rng, kind, tensors, values, options)


def _sum(rng: Rng, kind: str) -> Layer:
    code = str(rng.choice(["i8", "u8", "i16", "i8", "u8", "i32", "i64", "f32"]))
    options: dict[str, Any] = {"FusedActivationFunction": activation(rng)}
    if code in _CONTAINERS:
        return numbers(rng, kind, code, options)
    shapes = broadcasting(rng)
    s1, s2 = scale(rng, 1e-2), scale(rng, 1e-2)
    s_out = F32(max(s1, s2) * rng.uniform(0.3, 3))
    if code == "i16":
        options["PotScaleInt16"] = bool(rng.integers(2))
        if rng.integers(2):  # powers of two, one of them the output's
            s_out = F32(2.0 ** -int(rng.integers(8, 14)))
            s1, s2 = rng.permutation([s_out, F32(s_out / 2.0 ** int(rng.integers(0, 5)))])
            if options["PotScaleInt16"] and kind == "ADD":  # whose kernel does not broadcast then
                shapes = (shapes[2],) * 3
    tensors = [
        Tensor(name, shape, code, s, point(rng, code))
        for name, shape, s in zip(("x", "z", "y"), shapes, (s1, s2, s_out), strict=True)
    ]
    return _two(rng, kind, tensors, [codes(rng, code, SAMPLES, *s) for s in shapes[:2]], options)


def add(rng: Rng) -> Layer:
    return _sum(rng, "ADD")


def sub(rng: Rng) -> Layer:
    return _sum(rng, "SUB")


def mul(rng: Rng) -> Layer:
    code = str(rng.choice(["i8", "u8", "i16", "i8", "u8", "i32", "i64", "f32"]))
    options = {"FusedActivationFunction": activation(rng)}
    if code in _CONTAINERS:
        return numbers(rng, "MUL", code, options)
    shapes = broadcasting(rng)
    s1, s2 = scale(rng, 1e-2), scale(rng, 1e-2)
    # Products that spread over the codes, or mostly leave them.
    s_out = F32(s1 * s2 * 2.0 ** rng.uniform(-1, 8 if code != "i16" else 16))
    tensors = [
        Tensor(name, shape, code, s, point(rng, code))
        for name, shape, s in zip(("x", "z", "y"), shapes, (s1, s2, s_out), strict=True)
    ]
    return _two(rng, "MUL", tensors, [codes(rng, code, SAMPLES, *s) for s in shapes[:2]], options)


def _extreme(rng: Rng, kind: str) -> Layer:
    code = str(rng.choice(["i8", "u8", "i16", "i32", "i64", "f32"]))
    if code in _CONTAINERS:
        return numbers(rng, kind, code, {})
    shapes, s, z = broadcasting(rng), scale(rng), point(rng, code)
    tensors = [
        Tensor(n, shape, code, s, z) for n, shape in zip(("x", "z", "y"), shapes, strict=True)
    ]
    return _two(rng, kind, tensors, [codes(rng, code, SAMPLES, *s) for s in shapes[:2]], {})


def maximum(rng: Rng) -> Layer:
    return _extreme(rng, "MAXIMUM")


def minimum(rng: Rng) -> Layer:
    return _extreme(rng, "MINIMUM")


def div(rng: Rng) -> Layer:
    code = str(rng.choice(["i32", "f32"]))
    return numbers(rng, "DIV", code, {"FusedActivationFunction": activation(rng)})


def floor_div(rng: Rng) -> Layer:
    return numbers(rng, "FLOOR_DIV", str(rng.choice(["i32", "f32"])), {})


def sqrt(rng: Rng) -> Layer:
    shape = any_shape(rng)
    x = np.abs(rng.normal(0, 10, (SAMPLES, *shape))).astype(F32)
    tensors = [Tensor("x", shape, "f32"), Tensor("y", shape, "f32")]
    return Layer(tensors, [Op("SQRT", ["x"], "y")], {"x": x}, ["y"], bounded=["x"])


def prelu(rng: Rng) -> Layer:
    code, shape = str(rng.choice(["i8", "u8"])), any_shape(rng)
    alpha_shape = tuple(1 if rng.integers(3) == 0 else size for size in shape)
    alpha_shape = alpha_shape[int(rng.integers(len(shape))) :]
    s_in, s_alpha = scale(rng), scale(rng)
    alpha = Tensor(
        "alpha", alpha_shape, code, s_alpha, zero_point(rng, code), codes(rng, code, *alpha_shape)
    )
    tensors = [
        Tensor("x", shape, code, s_in, zero_point(rng, code)), alpha,
        Tensor("y", shape, code, F32(s_in * rng.uniform(0.3, 3)), zero_point(rng, code)),
    ]  # fmt: skip
    op = Op("PRELU", ["x", "alpha"], "y")
    return one_input(tensors, op, codes(rng, code, SAMPLES, *shape))


def _unary(
    rng: Rng, kind: str, code: str, scales: tuple[np.float32, np.float32], points: tuple[int, int],
    options: dict[str, Any] | None = None,
) -> Layer:  # fmt: skip
    shape = any_shape(rng)
    tensors = [
        Tensor("x", shape, code, scales[0], points[0]),
        Tensor("y", shape, code, scales[1], points[1]),
    ]
    return one_input(
        tensors, Op(kind, ["x"], "y", options or {}), codes(rng, code, SAMPLES, *shape)
    )


def _sigmoid(rng: Rng, kind: str) -> Layer:
    code = str(rng.choice(["i8", "u8", "i16"]))
    if code == "i16":
        s_in = F32(2.0 ** -int(rng.integers(9, 15))) if rng.integers(2) else scale(rng, 1e-5, 1e-2)
        return _unary(rng, kind, code, (s_in, F32(2.0**-15)), (0, 0))
    lowest = -128 if code == "i8" else 0
    out = (F32(1 / 256), lowest) if kind == "LOGISTIC" else (F32(1 / 128), lowest + 128)
    return _unary(rng, kind, code, (scale(rng, 1e-3, 0.3), out[0]), (zero_point(rng, code), out[1]))


def logistic(rng: Rng) -> Layer:
    return _sigmoid(rng, "LOGISTIC")


def tanh(rng: Rng) -> Layer:
    return _sigmoid(rng, "TANH")


def gelu(rng: Rng) -> Layer:
    code, s = str(rng.choice(["i8", "u8"])), scale(rng, 1e-3, 0.3)
    scales, points = (
        (s, F32(s * rng.uniform(0.3, 2))),
        (zero_point(rng, code), zero_point(rng, code)),
    )
    return _unary(rng, "GELU", code, scales, points, {"Approximate": bool(rng.integers(2))})


def exp(rng: Rng) -> Layer:
    s = scale(rng, 1e-3, 0.1)
    return _unary(
        rng, "EXP", "i8", (s, scale(rng, 1e-2, 1)), (zero_point(rng, "i8"), zero_point(rng, "i8"))
    )


def hard_swish(rng: Rng) -> Layer:
    code, s = str(rng.choice(["i8", "u8"])), scale(rng, 1e-3, 0.5)
    scales = (s, F32(s * rng.uniform(0.3, 3)))
    return _unary(rng, "HARD_SWISH", code, scales, (zero_point(rng, code), zero_point(rng, code)))


def leaky_relu(rng: Rng) -> Layer:
    code, s = str(rng.choice(["i8", "u8", "i16"])), scale(rng)
    alpha = float(F32(rng.choice([0.0, 0.01, 0.1, 1 / 3, 0.9, 2.5])))
    scales = (s, F32(s * rng.uniform(0.3, 3)))
    points = (point(rng, code), point(rng, code))
    return _unary(rng, "LEAKY_RELU", code, scales, points, {"Alpha": alpha})


def absolute(rng: Rng) -> Layer:
    s = scale(rng)
    scales = (s, F32(s * rng.uniform(0.3, 3)) if rng.integers(4) else s)
    return _unary(rng, "ABS", "i8", scales, (zero_point(rng, "i8"), zero_point(rng, "i8")))


def rsqrt(rng: Rng) -> Layer:
    """No code lies below the zero point: the runtime stops there."""
    s, lowest = scale(rng), int(rng.integers(-128, 100))
    s_out = F32(1 / np.sqrt(s) / rng.uniform(20, 300))
    layer = _unary(rng, "RSQRT", "i8", (s, s_out), (lowest, zero_point(rng, "i8")))
    inputs = {"x": np.maximum(layer.inputs["x"], np.int8(lowest))}
    return replace(layer, inputs=inputs, bounded=["x"])


def quantize(rng: Rng) -> Layer:
    pairs = [
        ("f32", "i8"), ("f32", "u8"), ("f32", "i16"), ("i8", "i8"), ("i8", "u8"), ("u8", "i8"),
        ("u8", "u8"), ("i8", "i16"), ("i16", "i8"), ("i16", "i16"), ("i16", "i32"), ("i32", "i8"),
        ("i32", "i16"),
    ]  # fmt: skip
    source, target = pairs[rng.integers(len(pairs))]
    shape = any_shape(rng)
    s_out = scale(rng)
    wide = 2.0 ** (8 * (int(target[1:]) - int(source[1:])) / 8)
    s_in = F32(s_out * np.exp(rng.uniform(-2, 2)) * min(wide, 1.0) if rng.integers(6) else s_out)
    z_in = 0 if source in ("i16", "i32", "f32") else zero_point(rng, source)
    z_out = 0 if target in ("i16", "i32") else zero_point(rng, target)
    if source == "f32":
        x = (rng.integers(-500, 500, (SAMPLES, *shape)) / 2 * s_out).astype(F32)
        given = Tensor("x", shape, "f32")
    else:
        x = codes(rng, source, SAMPLES, *shape)
        given = Tensor("x", shape, source, s_in, z_in)
    made = Tensor("y", shape, target, s_out, z_out)
    return one_input([given, made], Op("QUANTIZE", ["x"], "y"), x)


def dequantize(rng: Rng) -> Layer:
    code, shape = str(rng.choice(["i8", "u8", "i16"])), any_shape(rng)
    tensors = [Tensor("x", shape, code, scale(rng), point(rng, code)), Tensor("y", shape, "f32")]
    return one_input(tensors, Op("DEQUANTIZE", ["x"], "y"), codes(rng, code, SAMPLES, *shape))


def relu(rng: Rng) -> Layer:
    return _relu(rng, "RELU", ["i8", "u8", "i16"], scale(rng))


def _relu(rng: Rng, kind: str, types: list[str], s_out: np.float32) -> Layer:
    code = str(rng.choice(types))
    if code != "i16":
        return elementwise(rng, kind, code, code, s_out)
    s_in = F32(s_out * np.exp(rng.uniform(-2, 2)))
    return _unary(rng, kind, code, (s_in, s_out), (0, 0))


def relu6(rng: Rng) -> Layer:
    return _relu(rng, "RELU6", ["i8", "u8", "i16"], scale(rng, 5e-3, 0.2))


def relu_n1_to_1(rng: Rng) -> Layer:
    return _relu(rng, "RELU_N1_TO_1", ["i8", "u8"], scale(rng, 2e-3, 0.05))


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "abs": absolute,
    "add": add,
    "dequantize": dequantize,
    "div": div,
    "exp": exp,
    "floor_div": floor_div,
    "gelu": gelu,
    "hard_swish": hard_swish,
    "leaky_relu": leaky_relu,
    "logistic": logistic,
    "maximum": maximum,
    "minimum": minimum,
    "mul": mul,
    "prelu": prelu,
    "quantize": quantize,
    "relu": relu,
    "relu6": relu6,
    "relu_n1_to_1": relu_n1_to_1,
    "rsqrt": rsqrt,
    "sqrt": sqrt,
    "sub": sub,
    "tanh": tanh,
}
