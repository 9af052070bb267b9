"""Cases of operators that ONNX or QONNX files alone have, and of products as those files have them."""

from __future__ import annotations

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors.build import (
    CODES,
    INTEGERS,
    Case,
    Operand,
    Result,
    Rng,
    activation_of,
    any_scale,
    any_shape,
    any_zero_point,
    codes,
    next_scale,
    one_node,
    real,
    result_like,
)
from simulator.vectors.elementwise import Cases, choice, unary
from simulator.vectors.movements import KINDS
from simulator.vectors.products import image_and_window

# Codes of few bits in QONNX; b1 stands for -1 and +1.
NARROW = ("u1", "i2", "u2", "i3", "u4", "i4", "u5", "i8", "u8")
_ROUNDINGS = (
    "ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN",
)  # fmt: skip


def clip(rng: Rng, kind: str, profile: str) -> Case:
    dtype, shape = choice(rng, CODES), any_shape(rng, kind)
    x, spec = activation_of(rng, "x", shape, dtype, kind), TensorSpec((), dtype)
    low, high = sorted(int(v) for v in rng.integers(spec.minimum, spec.maximum + 1, 2))
    attrs: dict[str, Attribute] = {"clamp_min": low, "clamp_max": high}
    graph = one_node("clip", [x], result_like(x), profile, attrs)
    return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})


def dynamic_quantize(rng: Rng, kind: str, profile: str) -> Case:
    """Numbers of both signs or of one; ties of the scale that they make: multiples of half of it."""
    x = rng.normal(rng.choice([-2, 0, 2]), 1, any_shape(rng, kind)).astype(np.float32)
    if kind == "ties":
        scale = np.float32(any_scale(rng))
        x = (rng.integers(-200, 310, x.shape) * np.float32(0.5) * scale).astype(np.float32)
        x.reshape(-1)[:2] = (np.array([-100, 155]) * scale).astype(np.float32)[: x.size]
    if kind == "corners":
        x = np.full(x.shape, rng.choice([0.0, -1.5, 3e38, 1e-38]), np.float32)
    results = [Result("u8", 1.0), Result("f32"), Result("u8", 1.0)]
    graph = one_node("dynamic_quantize", [Operand("x", x.shape, "f32")], results, profile)
    return Case(kind, graph, {"x": x})


def quant(rng: Rng, kind: str, profile: str) -> Case:
    """float32 numbers at ties of codes of few bits, and beside them."""
    dtype, s = choice(rng, (*NARROW, "b1")), any_scale(rng)
    spec = TensorSpec((), dtype)
    halves = rng.integers(2 * spec.minimum - 4, 2 * spec.maximum + 5, any_shape(rng, kind))
    x = (halves * np.float32(0.5) * np.float32(s)).astype(np.float32)
    if kind == "one_ulp":
        x = np.nextafter(x, rng.choice(np.array([-np.inf, np.inf], np.float32), x.shape))
    if kind == "corners":
        x = rng.choice(np.array([-1e30, 0.0, -0.0, 1e30], np.float32), x.shape)
    attrs: dict[str, Attribute] = {
        "divisors": (s,), "minimum": spec.minimum, "maximum": spec.maximum,
        "clamps": int(rng.integers(4) > 0) if kind == "random" else 1,
        "rounding": choice(rng, _ROUNDINGS),
    }  # fmt: skip
    if not attrs["clamps"]:
        x = np.clip(x, spec.minimum * np.float32(s), spec.maximum * np.float32(s))
    graph = one_node("quant", [Operand("x", x.shape, "f32")], Result(dtype, s, 0), profile, attrs)
    return Case(kind, graph, {"x": x.astype(np.float32)})


def table(rng: Rng, kind: str, profile: str) -> Case:
    """Any function of codes of few bits."""
    source, target = choice(rng, NARROW), choice(rng, NARROW)
    entries = codes(rng, target, (256,), kind)
    x = Operand("x", any_shape(rng, kind), source, (any_scale(rng),), 0)
    operands = [x, Operand("table", (256,), target, values=entries)]
    graph = one_node("table", operands, Result(target, any_scale(rng)), profile)
    return Case(kind, graph, {"x": codes(rng, source, x.shape, kind)})


def float_conv_2d(rng: Rng, kind: str, profile: str) -> Case:
    """Sums that cancel, so that their order shows."""
    k, n = (1, 1) if kind == "ones" else (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
    shape, window = image_and_window(rng, kind, k)
    weights = rng.normal(0, 1, (n, *window.kernel, k)).astype(np.float32)
    operands = [
        Operand("x", shape, "f32"), Operand("w", weights.shape, "f32", values=weights)
    ]  # fmt: skip
    attrs: dict[str, Attribute] = {
        "padding": window.padding, "stride_h": window.stride[0], "stride_w": window.stride[1],
        "dilation_h": 1, "dilation_w": 1, "activation": "NONE",
    }  # fmt: skip
    graph = one_node("float_conv_2d", operands, Result("f32"), profile, attrs)
    return Case(kind, graph, {"x": rng.normal(0, 1, shape).astype(np.float32)})


def compared_product(rng: Rng, kind: str, operator: str) -> Case:
    """A product of QONNX codes whose sums are compared with thresholds, or are the output themselves.

    Ties: thresholds are the sums that there are, and their neighbours.
    """
    x_type, w_type, made = (choice(rng, NARROW) for _ in range(3))
    attrs: dict[str, Attribute] = {"activation": "NONE"}
    k, n = (1, 1) if kind == "ones" else (int(v) for v in rng.integers(1, 12, 2))
    if operator == "fully_connected":
        shape, w_shape = (int(rng.integers(1, 5)), k), (n, k)
        attrs |= {"keep_dims": 0, "weights_format": "DEFAULT"}
    else:
        shape, window = image_and_window(rng, kind, k)
        deep = operator == "depthwise_conv_2d"
        n = k if deep else n
        w_shape = (1, *window.kernel, k) if deep else (n, *window.kernel, k)
        attrs |= {
            "padding": window.padding, "stride_h": window.stride[0], "stride_w": window.stride[1],
            "dilation_h": 1, "dilation_w": 1,
        }  # fmt: skip
    x = Operand("x", shape, x_type, (any_scale(rng),), 0)
    weights = codes(rng, w_type, w_shape, kind)
    operands = [x, Operand("w", w_shape, w_type, (any_scale(rng),), 0, weights)]
    inputs = {"x": codes(rng, x_type, shape, kind)}
    if rng.integers(4) == 0:
        graph = one_node(operator, operands, Result("i32"), "qonnx", attrs)
        return Case(kind, graph, inputs)
    spec = TensorSpec((), made)
    levels = spec.maximum - spec.minimum
    reach = float(np.sqrt(np.prod(w_shape) / n)) * 2.0 ** (
        TensorSpec((), x_type).bits + TensorSpec((), w_type).bits - 3
    )  # fmt: skip
    edges = np.sort(np.rint(rng.normal(0, max(reach, 2), (n, levels))).astype(np.int64), axis=1)
    directions = rng.choice(np.array([-1, 1], np.int64), n)
    attrs["least"] = spec.minimum
    operands += [
        Operand(""), Operand("thresholds", edges.shape, "i64", values=edges),
        Operand("directions", (n,), "i64", values=directions),
    ]  # fmt: skip
    graph = one_node(operator, operands, Result(made, real(any_scale(rng))), "qonnx", attrs)
    return Case(kind, graph, inputs)


def alone_product(rng: Rng, kind: str, profile: str) -> Case:
    """Weights of 4 bits in profile onnxruntime, where the runtime itself computes in float32."""
    x_type, w_type = choice(rng, INTEGERS), choice(rng, ("i4", "u4"))
    rows, k, n = (1, 1, 1) if kind == "ones" else (int(v) for v in rng.integers(1, 30, 3))
    s_x, s_w = any_scale(rng), any_scale(rng)
    weights = codes(rng, w_type, (n, k), kind)
    z_w = any_zero_point(rng, w_type, kind)
    operands = [
        Operand("x", (rows, k), x_type, (s_x,), any_zero_point(rng, x_type, kind)),
        Operand("w", (n, k), w_type, (s_w,), z_w, weights),
    ]
    s_y = real(s_x * s_w * np.sqrt(k) * 74 * 5 / np.exp(rng.uniform(2, 7)))
    if kind in ("ties", "one_ulp"):
        s_y = next_scale(real(s_x * s_w * 2 * int(rng.integers(1, 20))), int(rng.integers(-1, 2)))
    attrs: dict[str, Attribute] = {
        "activation": "NONE", "keep_dims": 0, "weights_format": "DEFAULT", "arithmetic": "float",
    }  # fmt: skip
    result = Result(x_type, s_y, any_zero_point(rng, x_type, kind))
    graph = one_node("fully_connected", operands, result, profile, attrs)
    return Case(kind, graph, {"x": codes(rng, x_type, (rows, k), kind)})


_SLOPE = (0.1, 0.3, 1.0)
CASES: dict[str, Cases] = {
    "clip": Cases(KINDS, clip),
    "dynamic_quantize": Cases(("random", "ties", "corners", "ones"), dynamic_quantize),
    "elu": unary("elu", attrs=lambda rng: {"alpha": real(rng.choice(_SLOPE))}),
    "float_conv_2d": Cases(("random", "ones"), float_conv_2d),
    "hard_sigmoid": unary(
        "hard_sigmoid", attrs=lambda rng: {"alpha": real(rng.choice(_SLOPE)), "beta": 0.5}
    ),
    "neg": unary("neg"),
    "quant": Cases(("random", "ties", "one_ulp", "corners", "ones"), quant),
    "table": Cases(KINDS[:2], table),
}
