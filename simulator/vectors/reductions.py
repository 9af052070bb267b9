"""Cases of pools, reductions, places of extremes, softmax, resizing and the detectors' last step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.graph.ir import Attribute
from simulator.tensor import TensorSpec
from simulator.vectors import movements
from simulator.vectors.build import (
    ACTIVATIONS,
    CODES,
    EMPTY,
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
    ratio_near_tie,
    real,
    result_like,
)
from simulator.vectors.elementwise import ALL_KINDS, Attributes, Cases, choice
from simulator.vectors.products import image_and_window

# How ONNX rounds to the nearest pixel.
_NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
_FEW = ("random", "ties", "corners", "zero_points", "ones", EMPTY)


def _along_axes(operator: str, scaled: bool, types: Sequence[str] = CODES) -> Cases:
    """A reduction; ``scaled``: its output has a scale of its own."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        # LiteRT's reference kernel leaves the output of a SUM of other types unwritten.
        known = ("u8",) if (operator, profile) == ("sum", "tflite") else types
        if (operator, profile) == ("mean", "onnxruntime"):
            known = (*INTEGERS, "f32")
        dtype, shape = choice(rng, known), any_shape(rng, kind)
        axes = rng.permutation(len(shape))[: int(rng.integers(1, len(shape) + 1))]
        if kind == EMPTY:  # none of them the empty one, which would leave sums of nothing
            shape = (0, *any_shape(rng, "random", 3))
            axes = 1 + rng.permutation(len(shape) - 1)
        elif rng.integers(3) == 0:  # an image's height and width: kernels have loops for them
            sides = (*any_shape(rng, kind, 1), *any_shape(rng, kind, 1) * 2)
            shape, axes = (*sides, int(rng.integers(1, 20))), np.array([1, 2])
        if kind in ("ties", "one_ulp"):  # many outputs, each of a few codes
            shape = (int(rng.integers(4, 9)), *(int(n) for n in rng.integers(1, 5, 2)), 64)
            axes = np.array([[1, 2], [1], [2]][rng.integers(3)])
        s_in, z_in = any_scale(rng), 0 if dtype == "f32" else any_zero_point(rng, dtype, kind)
        s_out, z_out = s_in, z_in
        if scaled and dtype != "f32":
            s_out = ratio_near_tie(rng, s_in) if kind in ("ties", "one_ulp") else any_scale(rng)
            z_out = any_zero_point(rng, dtype, kind)
            if profile == "onnxruntime":  # which refuses means of 256 output codes per input code
                s_out = max(s_out, real(s_in / 200))
        if kind == "one_ulp":
            s_in = next_scale(s_in, int(rng.choice([-1, 1])))
        x, result = Operand("x", shape, dtype, (s_in,), z_in), Result(dtype, s_out, z_out)
        if dtype == "f32":
            x, result = Operand("x", shape, dtype), Result(dtype)
        attrs: Attributes = {"keep_dims": int(rng.integers(2))}
        operands = [x, movements.numbers("axes", axes)]
        graph = one_node(operator, operands, result, profile, attrs)
        return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})

    return Cases(ALL_KINDS if scaled else movements.KINDS, make)


def _pool(operator: str) -> Cases:
    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype = choice(rng, CODES)
        shape, window = image_and_window(rng, kind, int(rng.integers(1, 9)))
        scale, zero = any_scale(rng, 1e-2), any_zero_point(rng, dtype, kind)
        x = codes(rng, dtype, shape, kind)
        if kind == "ties":
            # Two codes next to each other: windows of an even count often sum to a half.
            low = int(rng.integers(TensorSpec((), dtype).minimum, TensorSpec((), dtype).maximum))
            x = rng.choice([low, low + 1], shape).astype(x.dtype)
        attrs: dict[str, Attribute] = {
            "activation": choice(rng, ACTIVATIONS), "padding": window.padding,
            "kernel_h": window.kernel[0], "kernel_w": window.kernel[1],
            "stride_h": window.stride[0], "stride_w": window.stride[1],
        }  # fmt: skip
        result = Result(dtype, scale, zero)
        if profile == "onnxruntime" and operator == "average_pool_2d":
            result = Result(dtype, any_scale(rng, 1e-2), any_zero_point(rng, dtype, kind))
            attrs |= {"activation": "NONE", "count_include_pad": int(rng.integers(2))}
            if dtype == "i8":
                attrs["unsigned"] = int(rng.integers(2))
        operand = Operand("x", shape, dtype, (scale,), zero)
        graph = one_node(operator, [operand], result, profile, attrs)
        return Case(kind, graph, {"x": x})

    return Cases(_FEW, make)


def softmax(rng: Rng, kind: str, profile: str) -> Case:
    source, target = [("i8", "i8"), ("u8", "u8"), ("i8", "i16"), ("i16", "i16")][rng.integers(4)]
    last = 1 if kind == "ones" and rng.integers(2) else int(rng.integers(1, 40))
    shape = (*any_shape(rng, kind, 3), last)
    x = codes(rng, source, shape, kind)
    if kind == "ties":  # rows of one code: equal shares
        x = np.broadcast_to(x[..., :1], shape).copy()
    s_in = any_scale(rng, 1e-6, 1.5) if source == "i16" else any_scale(rng, 1e-3, 2.0)
    if kind == "one_ulp":
        s_in = next_scale(real(2.0 ** int(rng.integers(-9, 1))), int(rng.integers(-1, 2)))
    operand = Operand("x", shape, source, (s_in,), any_zero_point(rng, source, kind))
    results = {
        "i8": Result("i8", 1 / 256, -128), "u8": Result("u8", 1 / 256, 0),
        "i16": Result("i16", 1 / 65536, -32768) if source == "i8" else Result("i16", 1 / 32768, 0),
    }  # fmt: skip
    attrs = {"beta": real(rng.choice([1.0, 0.3, 2.5]))}
    graph = one_node("softmax", [operand], results[target], profile, attrs)
    return Case(kind, graph, {"x": x})


def _place(operator: str) -> Cases:
    """Few different codes, so that most rows have several extremes."""

    def make(rng: Rng, kind: str, profile: str) -> Case:
        dtype, shape = choice(rng, (*INTEGERS, "i32")), any_shape(rng, kind)
        x = codes(rng, dtype, shape, kind)
        if kind == "ties":
            x = (x % 4 + (0 if dtype == "u8" else -2)).astype(x.dtype)
        axis = int(rng.integers(-len(shape), len(shape)))
        if kind == EMPTY:
            shape, axis = (0, *any_shape(rng, "random", 3)), 1
            x = codes(rng, dtype, shape, kind)
        operands = [
            activation_of(rng, "x", shape, dtype, kind), movements.numbers("axis", [axis])
        ]  # fmt: skip
        result = Result(choice(rng, ("i32", "i64")))
        return Case(kind, one_node(operator, operands, result, profile), {"x": x})

    return Cases(_FEW, make)


def _resized(operator: str, alignments: Sequence[tuple[int, int]]) -> Cases:
    def make(rng: Rng, kind: str, profile: str) -> Case:
        numbers = operator == "resize_bilinear" and profile == "onnxruntime"
        dtype, most = "f32" if numbers else choice(rng, CODES), 2 if kind == "ones" else 9
        shape = tuple(int(n) for n in rng.integers(1, [3, most, most, 9]))
        shape = (0, *shape[1:]) if kind == EMPTY else shape
        size = rng.integers(1, 4 if kind == "ones" else 20, 2)
        if rng.integers(3) == 0:  # whole multiples, whose rows come in bands
            size = np.array(shape[1:3]) * rng.integers(1, 5)
        known = alignments[:3] if profile == "onnxruntime" else alignments
        aligned, half = known[int(rng.integers(len(known)))]
        x = activation_of(rng, "x", shape, dtype, kind)
        attrs: Attributes = {"align_corners": aligned, "half_pixel_centers": half}
        if operator == "resize_nearest_neighbor" and profile == "onnxruntime":
            attrs = {**attrs, "nearest_mode": choice(rng, _NEAREST)}
        operands = [x, movements.numbers("size", size)]
        graph = one_node(operator, operands, result_like(x), profile, attrs)
        return Case(kind, graph, {"x": codes(rng, dtype, shape, kind)})

    return Cases(movements.KINDS, make)


def detection_postprocess(rng: Rng, kind: str, profile: str) -> Case:
    """Boxes, scores and anchors as codes or as numbers; regular suppression of overlaps."""
    boxes, classes = int(rng.integers(1 if kind == "ones" else 10, 60)), int(rng.integers(1, 6))
    shapes = [(1, boxes, 4), (1, boxes, classes + int(rng.integers(2))), (boxes, 4)]
    dtype = choice(rng, ("u8", "f32"))
    if dtype == "u8":
        scales = [any_scale(rng, 0.01, 0.1), any_scale(rng, 0.003, 0.005), real(0.004)]
        parts = [codes(rng, "u8", shape, kind) for shape in shapes]
        parts[2] = (parts[2] // 2 + 60).astype(np.uint8)
        operands = [
            Operand(name, shape, "u8", (s,), z)
            for name, shape, s, z in zip(_BOXES, shapes, scales, (128, 3, 2), strict=True)
        ]
    else:
        rounded = rng.choice([10.0, 1000.0])  # some scores and boxes are equal
        parts = [
            rng.normal(0, 2, shapes[0]), rng.uniform(0, 1, shapes[1]), rng.uniform(0.1, 1, shapes[2])
        ]  # fmt: skip
        parts = [(np.rint(part * rounded) / rounded).astype(np.float32) for part in parts]
        operands = [Operand(n, s, "f32") for n, s in zip(_BOXES, shapes, strict=True)]
    anchors = operands[2]
    operands[2] = Operand(
        "anchors", anchors.shape, dtype, anchors.scales, anchors.zero_point, parts[2]
    )
    attrs: Attributes = {
        "regular": 1, "detections_per_class": 30, "max_detections": 40,
        "max_classes_per_detection": 1, "num_classes": classes,
        "nms_score_threshold": real(rng.choice([0.1, 0.5])),
        "nms_iou_threshold": real(rng.choice([0.1, 0.5, 0.6, 1.0])),
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    graph = one_node("detection_postprocess", operands, [Result("f32")] * 4, profile, attrs)
    return Case(kind, graph, {"encoded": parts[0], "scores": parts[1]})


_BOXES = ("encoded", "scores", "anchors")

CASES: dict[str, Cases] = {
    "arg_max": _place("arg_max"),
    "arg_min": _place("arg_min"),
    "average_pool_2d": _pool("average_pool_2d"),
    "detection_postprocess": Cases(("random", "corners", "ones"), detection_postprocess),
    "max_pool_2d": _pool("max_pool_2d"),
    "mean": _along_axes("mean", True),
    "reduce_max": _along_axes("reduce_max", False),
    "reduce_min": _along_axes("reduce_min", False),
    "resize_bilinear": _resized("resize_bilinear", [(0, 0), (1, 0), (0, 1)]),
    "resize_nearest_neighbor": _resized(
        "resize_nearest_neighbor", [(0, 0), (1, 0), (0, 1), (1, 1)]
    ),
    "softmax": Cases(ALL_KINDS, softmax),
    "sum": _along_axes("sum", True),
}
