"""Windows over images: strides, dilations and padding as explicit numbers; pooling and resizing."""

from __future__ import annotations

import math

import numpy as np

from simulator.importers._onnx_build import IMAGE, Attrs, Value
from simulator.importers._onnx_file import Op
from simulator.importers._onnx_walk import Call, Walk

# Strides, dilations and windows: far above any model's, far below what overflows a count.
_LONGEST = 32767


def window(op: Op, image: tuple[int, ...], kernel: tuple[int, ...]) -> dict[str, int]:
    """stride, dilation and padding attributes of a window of size ``kernel`` (height, width)."""
    stated = op.integers("kernel_shape")
    if stated is not None and stated != tuple(kernel):
        raise op.error(f"kernel_shape {list(stated)}", str(list(kernel)))
    strides = _pair(op, "strides", 1)
    dilations = _pair(op, "dilations", 1)
    before, after = _padding(op, image, kernel, strides, dilations)
    return {
        "stride_h": strides[0], "stride_w": strides[1],
        "dilation_h": dilations[0], "dilation_w": dilations[1],
        "pad_top": before[0], "pad_left": before[1], "pad_bottom": after[0], "pad_right": after[1],
    }  # fmt: skip


def _pair(op: Op, key: str, default: int | None) -> tuple[int, int]:
    values = op.integers(key)
    if values is None:
        if default is None:
            raise op.error(f"has no {key}", "two numbers")
        return default, default
    if len(values) != 2 or not all(1 <= v <= _LONGEST for v in values):
        raise op.error(f"{key} {list(values)}", f"two numbers, 1..{_LONGEST}")
    return values[0], values[1]


def _padding(
    op: Op, image: tuple[int, ...], kernel: tuple[int, ...], strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:  # fmt: skip
    """((top, left), (bottom, right)), with what ceil_mode adds at the end."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = op.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, stride, r in zip(image, strides, reach, strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + r - size, 0)
            small, large = total // 2, total - total // 2
            before.append(small if auto == "SAME_UPPER" else large)
            after.append(large if auto == "SAME_UPPER" else small)
        return (before[0], before[1]), (after[0], after[1])
    if auto not in ("NOTSET", "VALID", ""):
        raise op.error(f"auto_pad {auto!r}", "NOTSET, VALID, SAME_UPPER, SAME_LOWER")
    pads = (op.integers("pads") or (0, 0, 0, 0)) if auto != "VALID" else (0, 0, 0, 0)
    if len(pads) != 4 or not all(0 <= p <= _LONGEST for p in pads):
        raise op.error(f"pads {list(pads)}", f"four numbers, 0..{_LONGEST}")
    top, left, bottom, right = pads
    if op.integer("ceil_mode", 0):
        bottom += _missing(image[0] + top + bottom - reach[0], strides[0])
        right += _missing(image[1] + left + right - reach[1], strides[1])
    return (top, left), (bottom, right)


def _missing(rest: int, stride: int) -> int:
    """Rows to add so that the last, incomplete window counts as well."""
    return -rest % stride if rest > 0 else 0


def pool_window(op: Op, x: Value) -> dict[str, int]:
    """Kernel, strides and padding of a pool, which has no dilation."""
    if x.rank != 4:
        raise op.error(f"pools {list(x.shape)}", "4 dimensions, NCHW")
    kernel = _pair(op, "kernel_shape", None)
    attrs = {**window(op, x.shape[2:], kernel), "kernel_h": kernel[0], "kernel_w": kernel[1]}
    if attrs.pop("dilation_h") != 1 or attrs.pop("dilation_w") != 1:
        raise op.error(f"dilations {list(op.integers('dilations') or ())}", "1")
    return attrs


def _check_height(op: Op, shape: tuple[int, ...], x: Value, attrs: dict[str, int]) -> None:
    """A window that starts beyond the image and its padding is no window: readings of ceil_mode differ."""
    sizes = []
    for axis, side in ((2, "h"), (3, "w")):
        ends = ("pad_top", "pad_bottom") if side == "h" else ("pad_left", "pad_right")
        padded = x.shape[axis] + attrs[ends[0]] + attrs[ends[1]]
        sizes.append((padded - attrs[f"kernel_{side}"]) // attrs[f"stride_{side}"] + 1)
    if tuple(sizes) != shape[2:]:
        raise op.error(f"its output is {list(shape[2:])} high and wide", str(sizes))


def max_pool(w: Walk, op: Op) -> None:
    """MaxPool, which moves codes: the largest code is that of the largest number."""
    if len(op.outputs) > 1 and op.outputs[1] and w.readers.get(op.outputs[1]):
        raise op.error("gives the places of its maxima", "the maxima only")
    _largest(w, op, pool_window(op, w.given(op, 0)))


def global_max_pool(w: Walk, op: Op) -> None:
    """GlobalMaxPool: a window as large as the image."""
    x = w.given(op, 0)
    if x.rank != 4:
        raise op.error(f"pools {list(x.shape)}", "4 dimensions, NCHW")
    zeros = {f"pad_{side}": 0 for side in ("top", "bottom", "left", "right")}
    kernel = {"kernel_h": x.shape[2], "kernel_w": x.shape[3]}
    _largest(w, op, {**kernel, "stride_h": 1, "stride_w": 1, **zeros})


def _largest(w: Walk, op: Op, attrs: dict[str, int]) -> None:
    x = w.movable(w.given(op, 0))
    _check_height(op, w.kind(op).shape, x, attrs)
    w.moved(op, "max_pool_2d", w.arranged(x, IMAGE), {**attrs, "activation": "NONE"})


def average_pool(w: Walk, call: Call) -> None:
    """AveragePool; ``count_include_pad`` only where there is padding that it counts."""
    op, x = call.op, call.given(0)
    attrs = pool_window(op, x)
    _check_height(op, w.kind(op).shape, x, attrs)
    padded = any(v for k, v in attrs.items() if k.startswith("pad_"))
    if op.integer("count_include_pad", 0) and padded:
        if op.integer("ceil_mode", 0):
            raise op.error("counts padding beside ceil_mode", "one of both")
        attrs["count_include_pad"] = 1
    inputs = [w.build.arranged(x, IMAGE)]
    w.result(call, "average_pool_2d", inputs, IMAGE, {**attrs, "activation": "NONE"})


def global_average_pool(w: Walk, call: Call) -> None:
    """GlobalAveragePool: the mean over height and width."""
    x = call.given(0)
    if x.rank != 4:
        raise call.op.error(f"pools {list(x.shape)}", "4 dimensions, NCHW")
    if not call.quantized and not w.real_products:
        raise call.op.error(
            "averages float32 numbers", "8-bit codes, quantized before and after it"
        )
    inputs = [w.build.arranged(x, IMAGE)]
    w.result(call, "mean", inputs, IMAGE, {"axes": (1, 2), "keep_dims": 1})


def reduce_mean(w: Walk, call: Call) -> None:
    """ReduceMean over stated axes, of float32 numbers."""
    op, x = call.op, call.given(0)
    axes = op.integers("axes")
    if axes is None:
        found = w.array(op, 1, "axes")
        w.allowance.objects(0 if found is None else found.size, op.where)
        axes = tuple(int(a) for a in np.ravel(found)) if found is not None else ()
    if not axes and op.integer("noop_with_empty_axes", 0):
        raise op.error("has no axes", "at least one")
    axes = tuple(sorted(a % x.rank for a in axes)) or tuple(range(x.rank))
    keep, shape = op.integer("keepdims", 1), w.kind(op).shape
    if x.axes == IMAGE and (keep or axes == (2, 3)):
        ours = tuple(sorted(IMAGE[a] for a in axes))
        order = IMAGE if keep else tuple(range(len(shape)))
        w.result(call, "mean", [x.tensor], order, {"axes": ours, "keep_dims": keep})
        return
    inputs = [w.build.arranged(x, tuple(range(x.rank)))]
    order = tuple(range(len(shape)))
    w.result(call, "mean", inputs, order, {"axes": axes, "keep_dims": keep})


def resize(w: Walk, op: Op) -> None:
    """Resize and Upsample of height and width, nearest (which moves codes) or linear."""
    mode = op.text("mode", "nearest")
    x, shape = w.given(op, 0), w.kind(op).shape
    if x.rank != 4 or shape[:2] != x.shape[:2]:
        raise op.error(f"resizes {list(x.shape)} to {list(shape)}", "height and width of NCHW")
    attrs: Attrs = {
        "size": shape[2:],
        **_coordinates(w, op, x.shape, shape),
    }
    if mode == "nearest":
        w.moved(op, "resize_nearest_neighbor", w.arranged(w.movable(x), IMAGE), attrs)
        return
    if mode not in ("linear", "bilinear"):
        raise op.error(f"mode {mode!r}", "nearest, linear")
    if not x.quantized and x.dtype != "f32":
        raise op.error(
            f"blends {x.dtype} codes", "DequantizeLinear before it, QuantizeLinear after it"
        )
    # Blended in float32 in any case: nothing joins a linear Resize.
    call = w.float_call(op, (x,))
    inputs = [w.build.arranged(call.given(0), IMAGE)]
    w.result(call, "resize_bilinear", inputs, IMAGE, attrs)


def _coordinates(
    w: Walk, op: Op, old: tuple[int, ...], new: tuple[int, ...]
) -> dict[str, int | str]:
    """How an output's place becomes an input's."""
    default = "asymmetric" if op.kind == "Upsample" or len(op.inputs) == 2 else "half_pixel"
    mode = op.text("coordinate_transformation_mode", default)
    if mode == "pytorch_half_pixel" and min(new[2:]) > 1:
        mode = "half_pixel"
    known = ("half_pixel", "asymmetric", "align_corners")
    if mode not in known:
        raise op.error(f"coordinate_transformation_mode {mode!r}", ", ".join(known))
    for key, plain in (("antialias", 0), ("exclude_outside", 0)):
        if op.integer(key, plain) != plain:
            raise op.error(f"{key} = {op.integer(key, plain)}", str(plain))
    if op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise op.error("keeps the aspect ratio", "keep_aspect_ratio_policy = stretch")
    _check_scales(w, op, old, new)
    found: dict[str, int | str] = {
        "align_corners": int(mode == "align_corners"), "half_pixel_centers": int(mode == "half_pixel")
    }  # fmt: skip
    if op.text("mode", "nearest") == "nearest":
        floor = op.kind == "Upsample" or len(op.inputs) == 2
        found["nearest_mode"] = op.text("nearest_mode", "floor" if floor else "round_prefer_floor")
        allowed = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
        if found["nearest_mode"] not in allowed:
            raise op.error(f"nearest_mode {found['nearest_mode']!r}", ", ".join(allowed))
    return found


def _check_scales(w: Walk, op: Op, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """Stated scales must be the ratio of the sizes: the coordinates are computed with them."""
    stated = op.attrs.get("scales")
    index = 1 if op.kind == "Upsample" or len(op.inputs) == 2 else 2
    scales = np.array(stated, np.float32) if stated is not None else w.array(op, index, "scales")
    if scales is None or scales.size == 0:
        return
    for scale, before, after in zip(np.ravel(scales), old, new, strict=False):
        if np.float32(scale) != np.float32(after / before):
            raise op.error(f"scale {float(scale)} from {before} to {after}", f"{after / before}")


def space(w: Walk, op: Op) -> None:
    """DepthToSpace (mode DCR) and SpaceToDepth, which order channels as we do."""
    mode = op.text("mode", "DCR")
    if op.kind == "DepthToSpace" and mode != "DCR":
        raise op.error(f"mode {mode!r}", "DCR")
    x = w.movable(w.given(op, 0))
    operator = "depth_to_space" if op.kind == "DepthToSpace" else "space_to_depth"
    w.moved(op, operator, w.arranged(x, IMAGE), {"block_size": op.integer("blocksize", 1)})
