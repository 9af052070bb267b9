"""Random pooling, reduction, resizing and softmax layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flatbuffers import flexbuffers
from layer_parts import (
    SAMPLES,
    Layer,
    Rng,
    activation,
    any_shape,
    codes,
    image,
    one_input,
    point,
    scale,
    window,
    zero_point,
)
from tflite_builder import Op, Tensor

F32 = np.float32


def dtype(rng: Rng) -> str:
    return ("i8", "u8", "i16")[rng.integers(3)]


def _shape(rng: Rng, most: int) -> tuple[int, ...]:
    """1 to ``most`` dimensions, one of them often long, so that much is left when others go."""
    sizes = rng.integers(1, 7, rng.integers(1, most + 1))
    sizes[rng.integers(sizes.size)] *= rng.integers(1, 10)
    return tuple(int(s) for s in sizes)


def _pool(rng: Rng, kind: str) -> Layer:
    in_shape, code = image(rng, int(rng.integers(1, 18))), dtype(rng)
    w = window(rng, in_shape[1:3], dilated=False)
    s, z = scale(rng, 1e-4 if code == "i16" else 1e-2), point(rng, code)
    tensors = [
        Tensor("x", in_shape, code, s, z),
        Tensor("y", (in_shape[0], *w.out, in_shape[3]), code, s, z),
    ]
    options = {
        **w.options, "FilterHeight": w.kernel[0], "FilterWidth": w.kernel[1],
        "FusedActivationFunction": activation(rng),
    }  # fmt: skip
    op = Op(kind, ["x"], "y", options, version=3 if code == "i16" else None)
    return one_input(tensors, op, codes(rng, code, SAMPLES, *in_shape))


def average_pool_2d(rng: Rng) -> Layer:
    return _pool(rng, "AVERAGE_POOL_2D")


def max_pool_2d(rng: Rng) -> Layer:
    return _pool(rng, "MAX_POOL_2D")


def softmax(rng: Rng) -> Layer:
    shape = any_shape(rng)
    code, out = (("i8", "i8"), ("u8", "u8"), ("i8", "i16"), ("i16", "i16"))[rng.integers(4)]
    beta = float(np.float32(rng.choice([1.0, 0.3, 2.5])))
    result = {
        ("i8", "i8"): (1 / 256, -128), ("u8", "u8"): (1 / 256, 0),
        ("i8", "i16"): (1 / 65536, -32768), ("i16", "i16"): (1 / 32768, 0),
    }[code, out]  # fmt: skip
    s = scale(rng, 1e-6, 1.5) if code == "i16" else scale(rng, 1e-3, 2.0)
    tensors = [
        Tensor("x", shape, code, s, point(rng, code)),
        Tensor("y", shape, out, np.float32(result[0]), result[1]),
    ]
    op = Op("SOFTMAX", ["x"], "y", {"Beta": beta}, version=3 if out == "i16" else None)
    return one_input(tensors, op, codes(rng, code, SAMPLES, *shape))


def _reduced(rng: Rng, kind: str, code: str, *, mean: bool = False, same: bool = False) -> Layer:
    """Any axes, counted from either end, in any order; one time in three an image's height and width."""
    shape = _shape(rng, 5)
    axes = rng.permutation(len(shape))[: max(1, rng.integers(len(shape)))]
    if rng.integers(12) == 0:
        axes = np.arange(len(shape))
    keep = bool(rng.integers(2))
    if rng.integers(3) == 0:
        shape, axes = image(rng, int(rng.integers(1, 40))), np.array([1, 2])
    kept = [1 if d in axes else s for d, s in enumerate(shape) if keep or d not in axes]
    count = int(np.prod([shape[a] for a in axes]))
    named = np.where(rng.integers(2, size=axes.size) == 0, axes, axes - len(shape))
    s_in, z_in = scale(rng), point(rng, code)
    s_out = np.float32(s_in * (1 if mean else count) * np.exp(rng.uniform(-2, 1)))
    z_out = point(rng, code)
    if same or rng.integers(4) == 0:
        s_out, z_out = s_in, z_in
    tensors = [
        Tensor("x", shape, code, s_in, z_in),
        Tensor("axes", named.shape, "i32", data=named.astype(np.int32)),
        Tensor("y", kept, code, s_out, z_out),
    ]
    op = Op(kind, ["x", "axes"], "y", {"KeepDims": keep})
    return one_input(tensors, op, codes(rng, code, SAMPLES, *shape))


def mean(rng: Rng) -> Layer:
    return _reduced(rng, "MEAN", dtype(rng), mean=True)


def sum_of(rng: Rng, code: str = "u8") -> Layer:
    """LiteRT's reference SUM leaves int8 and int16 outputs unwritten, so only uint8 can be compared."""
    return _reduced(rng, "SUM", code)


def reduce_max(rng: Rng) -> Layer:
    return _reduced(rng, "REDUCE_MAX", dtype(rng), same=True)


def reduce_min(rng: Rng) -> Layer:
    return _reduced(rng, "REDUCE_MIN", dtype(rng), same=True)


def _place(rng: Rng, kind: str) -> Layer:
    """Few different codes, so that most rows have several extremes."""
    shape, code = _shape(rng, 4), ("i8", "u8", "i32")[rng.integers(3)]
    axis = int(rng.integers(-len(shape), len(shape)))
    result = ("i32", "i64")[rng.integers(2)]
    width = rng.choice(["int32", "int64"])
    out = tuple(s for d, s in enumerate(shape) if d != axis % len(shape))
    x = codes(rng, code, SAMPLES, *shape)
    if rng.integers(3):
        x = (x % 4 + (0 if code == "u8" else -2)).astype(x.dtype)
    quantization = (None, 0) if code == "i32" else (scale(rng), zero_point(rng, code))
    tensors = [
        Tensor("x", shape, code, *quantization),
        Tensor("axis", (1,), f"i{width[3:]}", data=np.array([axis], width)),
        Tensor("y", out, result),
    ]
    types = {"i32": 2, "i64": 4}  # of the schema
    op = Op(kind, ["x", "axis"], "y", {"OutputType": types[result]})
    return one_input(tensors, op, x)


def arg_max(rng: Rng) -> Layer:
    return _place(rng, "ARG_MAX")


def arg_min(rng: Rng) -> Layer:
    return _place(rng, "ARG_MIN")


def _resized(rng: Rng, kind: str, alignments: list[tuple[int, int]]) -> Layer:
    in_shape, code = image(rng, int(rng.integers(1, 10))), dtype(rng)
    size = rng.integers(1, 20, 2)
    if rng.integers(3) == 0:  # whole multiples, whose rows come in bands
        size = np.array(in_shape[1:3]) * rng.integers(1, 5)
    aligned, half = alignments[rng.integers(len(alignments))]
    s, z = scale(rng), point(rng, code)
    tensors = [
        Tensor("x", in_shape, code, s, z),
        Tensor("size", (2,), "i32", data=size.astype(np.int32)),
        Tensor("y", (in_shape[0], int(size[0]), int(size[1]), in_shape[3]), code, s, z),
    ]
    options = {"AlignCorners": bool(aligned), "HalfPixelCenters": bool(half)}
    op = Op(kind, ["x", "size"], "y", options)
    return one_input(tensors, op, codes(rng, code, SAMPLES, *in_shape))


def resize_bilinear(rng: Rng) -> Layer:
    return _resized(rng, "RESIZE_BILINEAR", [(0, 0), (1, 0), (0, 1)])


def resize_nearest_neighbor(rng: Rng) -> Layer:
    return _resized(rng, "RESIZE_NEAREST_NEIGHBOR", [(0, 0), (1, 0), (0, 1), (1, 1)])


OUTPUTS = ("boxes", "classes", "found", "count")


def flexbuffer(options: Mapping[str, float]) -> bytes:
    """The options of a custom operator."""
    builder: Any = flexbuffers.Builder()
    with builder.Map():
        for key, value in options.items():
            builder.Key(key)
            builder.Add(value)
    return bytes(builder.Finish())


def detection_postprocess(rng: Rng, outputs: Sequence[str] = ("boxes",), fast: int = 0) -> Layer:
    """A detector's last step; of the fast variant, whose unused places LiteRT does not write, one box,
    or if asked for ``fast``."""
    count, classes, most = int(rng.integers(10, 60)), int(rng.integers(1, 6)), 40
    shapes = [(1, count, 4), (1, count, classes + int(rng.integers(2))), (count, 4)]
    regular = not fast and bool(rng.integers(4))
    options = {
        "max_detections": most if regular else fast or 1, "max_classes_per_detection": 1,
        "num_classes": classes, "use_regular_nms": regular, "detections_per_class": 30,
        "nms_score_threshold": float(rng.choice([0.1, 0.5])) if regular else 0.0,
        "nms_iou_threshold": float(rng.choice([0.1, 0.5, 0.6, 1.0])),
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    if rng.integers(2):
        dtype, parts = "u8", [rng.integers(0, 256, (SAMPLES, *s)) for s in shapes]
        parts[2] = parts[2][0] // 2 + 60
        scales = [(scale(rng, 0.01, 0.1), 128), (scale(rng, 0.003, 0.005), 3), (F32(0.004), 2)]
        values = [v.astype(np.uint8) for v in parts]
    else:
        dtype, scales = "f32", [(None, 0)] * 3
        rounded = rng.choice([10.0, 1000.0])  # some scores and boxes are equal
        parts = [rng.normal(0, 2, (SAMPLES, *shapes[0])), rng.uniform(0, 1, (SAMPLES, *shapes[1]))]
        parts.append(rng.uniform(0.1, 1, shapes[2]))
        values = [(np.rint(v * rounded) / rounded).astype(F32) for v in parts]
    names = ("encoded", "scores", "anchors")
    tensors = [
        Tensor(name, shape, dtype, *quantization)
        for name, shape, quantization in zip(names, shapes, scales, strict=True)
    ]
    tensors[2] = replace(tensors[2], data=values[2])
    most = int(options["max_detections"])
    made = zip(OUTPUTS, [(1, most, 4), (1, most), (1, most), (1,)], strict=True)
    tensors += [Tensor(name, shape, "f32") for name, shape in made]
    op = Op(
        "CUSTOM TFLite_Detection_PostProcess", names, OUTPUTS[0], more_outputs=OUTPUTS[1:],
        custom_options=flexbuffer(options),
    )  # fmt: skip
    inputs = {"encoded": values[0], "scores": values[1]}
    bounded = names[:2] if dtype == "f32" else ()
    return Layer(tensors, [op], inputs, outputs, bounded)


LAYERS: dict[str, Callable[[Rng], Layer]] = {
    "arg_max": arg_max,
    "arg_min": arg_min,
    "average_pool_2d": average_pool_2d,
    "detection_postprocess": detection_postprocess,
    "max_pool_2d": max_pool_2d,
    "mean": mean,
    "reduce_max": reduce_max,
    "reduce_min": reduce_min,
    "resize_bilinear": resize_bilinear,
    "resize_nearest_neighbor": resize_nearest_neighbor,
    "softmax": softmax,
    "sum": sum_of,
}
