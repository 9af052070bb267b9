"""What reductions, resizing and softmax refuse; profiles without a runtime; the rows a tile reads."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from layers_reductions import LAYERS, flexbuffer, sum_of
from random_devices import compile_tightly
from tflite_builder import Op, Tensor, build_model

from simulator.datapath.machine import Machine
from simulator.errors import ModelError
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, reference_values
from simulator.ops._reduction import View, view
from simulator.ops._resizing import nest_of
from simulator.ops.resize_bilinear import _form, _places
from simulator.program.commands import Host
from simulator.program.nest import ifmap_elements, retiled, tile_at, tile_count


def x(*shape: int, dtype: str = "i8", scale: Any = 0.5, zero_point: int = 0) -> Tensor:
    return Tensor("x", shape, dtype, scale, zero_point)


def y(*shape: int, dtype: str = "i8", scale: Any = 0.5, zero_point: int = 0) -> Tensor:
    return Tensor("y", shape, dtype, scale, zero_point)


def a(*values: int, dtype: str = "i32") -> Tensor:
    return Tensor("a", (len(values),), dtype, data=np.array(values, f"int{dtype[1:]}"))


IMAGE, LARGER = x(1, 4, 4, 2), y(1, 8, 8, 2)
SOFT = {"Beta": 1.0}
BOTH = {"AlignCorners": True, "HalfPixelCenters": True}
RUN_TIME = Tensor("a", (1,), "i32")
CASES: dict[str, tuple[Op, list[Tensor], str]] = {
    "mean over axes made at run time": (
        Op("MEAN", ["x", "a"], "y"), [x(2, 3), RUN_TIME, y(2)], "axes are a constant"
    ),
    "mean over an axis beyond the last": (
        Op("MEAN", ["x", "a"], "y"), [x(2, 3), a(2), y(2)], "within the input's dimensions"
    ),
    "mean of 16 bits with a zero point": (
        Op("MEAN", ["x", "a"], "y"),
        [x(2, 3, dtype="i16", zero_point=1), a(1), y(2, dtype="i16")], "int16 has zero points 0",
    ),
    "mean of 32 bits": (
        Op("MEAN", ["x", "a"], "y"), [x(2, 3, dtype="i32"), a(1), y(2, dtype="i32")], "int8, uint8"
    ),
    "mean from int8 to uint8": (
        Op("MEAN", ["x", "a"], "y"), [x(2, 3), a(1), y(2, dtype="u8")], "of the same type"
    ),
    "sum of very many": (
        Op("SUM", ["x", "a"], "y"), [x(2, 65537), a(1), y(2)], "at most 65536"
    ),
    "mean of another shape": (Op("MEAN", ["x", "a"], "y"), [x(2, 3), a(1), y(3)], "has shape"),
    "maximum to another scale": (
        Op("REDUCE_MAX", ["x", "a"], "y"), [x(2, 3), a(1), y(2, scale=0.25)], "same quantization"
    ),
    "place along two axes": (
        Op("ARG_MAX", ["x", "a"], "y"), [x(2, 3), a(0, 1), y(3, dtype="i32", scale=None)],
        "one constant",
    ),
    "place in 16 bits": (
        Op("ARG_MIN", ["x", "a"], "y"), [x(2, 3, dtype="i16"), a(1), y(2, dtype="i32", scale=None)],
        "int8, uint8 or int32",
    ),
    "resizing with both alignments": (
        Op("RESIZE_BILINEAR", ["x", "a"], "y", BOTH), [IMAGE, a(8, 8), LARGER], "not both"
    ),
    "resizing to nothing": (
        Op("RESIZE_NEAREST_NEIGHBOR", ["x", "a"], "y"), [IMAGE, a(0, 8), LARGER], "at least 1"
    ),
    "resizing to one size": (
        Op("RESIZE_NEAREST_NEIGHBOR", ["x", "a"], "y"), [IMAGE, a(8), LARGER], "two int32"
    ),
    "resizing to another type": (
        Op("RESIZE_BILINEAR", ["x", "a"], "y"), [IMAGE, a(8, 8), y(1, 8, 8, 2, dtype="u8")],
        "of the same type",
    ),
    "resizing to another scale": (
        Op("RESIZE_BILINEAR", ["x", "a"], "y"), [IMAGE, a(8, 8), y(1, 8, 8, 2, scale=0.25)],
        "same quantization",
    ),
    "softmax from uint8 to int16": (
        Op("SOFTMAX", ["x"], "y", SOFT), [x(1, 4, dtype="u8"), y(1, 4, dtype="i16")],
        "int8 becomes int8 or int16",
    ),
    "softmax to 16 bits of half the range": (
        Op("SOFTMAX", ["x"], "y", SOFT), [x(1, 4), y(1, 4, dtype="i16", scale=1 / 32768)],
        "scale 1/65536",
    ),
    "softmax of 16 bits with a zero point": (
        Op("SOFTMAX", ["x"], "y", SOFT),
        [x(1, 4, dtype="i16", zero_point=5), y(1, 4, dtype="i16", scale=1 / 32768)],
        "int16 input has zero point 0",
    ),
    "softmax of 16 bits with a large scale": (
        Op("SOFTMAX", ["x"], "y", SOFT),
        [x(1, 4, dtype="i16", scale=4.0), y(1, 4, dtype="i16", scale=1 / 32768)], "below 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_with_the_rule(case: str) -> None:
    op, tensors, allowed = CASES[case]
    inputs = [t.name for t in tensors if t.data is None and t.name != "y"]
    content = build_model(tensors, [op], inputs, ["y"])
    with pytest.raises(ModelError) as caught:
        read_tflite(content, "refused")
    assert allowed in str(caught.value)


OPTIONS = {
    "max_detections": 5, "max_classes_per_detection": 1, "num_classes": 2, "nms_iou_threshold": 0.5,
    "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
}  # fmt: skip
Changes = dict[str, Any]
# Changed options, shape of scores, type of boxes -> what is allowed.
DETECTORS: dict[str, tuple[Changes, tuple[int, ...], str, str]] = {
    "several classes of one box": (
        {"max_classes_per_detection": 2}, (1, 7, 3), "f32", "max_classes_per_detection is 1"
    ),
    "no detections": ({"max_detections": 0}, (1, 7, 3), "f32", "at least 1"),
    "too few scores": ({}, (1, 7, 1), "f32", "one less where the first is the background"),
    "scores of other boxes": ({}, (1, 6, 3), "f32", "scores [1, n, classes]"),
    "boxes of int8": ({}, (1, 7, 3), "i8", "float32 or uint8"),
    "a threshold above 1": ({"nms_iou_threshold": 1.5}, (1, 7, 3), "f32", "at most at 1"),
    "a scale of 0": ({"h_scale": 0.0}, (1, 7, 3), "f32", "no scale is 0"),
}  # fmt: skip


def detector(options: bytes, scores: tuple[int, ...], boxes: str) -> bytes:
    tensors = [
        Tensor("b", (1, 7, 4), boxes), Tensor("s", scores, "f32"),
        Tensor("a", (7, 4), "f32", data=np.ones((7, 4), np.float32)),
        *(Tensor(f"o{i}", s, "f32") for i, s in enumerate([(1, 5, 4), (1, 5), (1, 5), (1,)])),
    ]  # fmt: skip
    op = Op(
        "CUSTOM TFLite_Detection_PostProcess", ["b", "s", "a"], "o0", more_outputs=["o1", "o2", "o3"],
        custom_options=options,
    )  # fmt: skip
    return build_model(tensors, [op], ["b", "s"], ["o0", "o1", "o2", "o3"])


@pytest.mark.parametrize("case", DETECTORS)
def test_detectors_refused_with_the_rule(case: str) -> None:
    changes, scores, boxes, allowed = DETECTORS[case]
    with pytest.raises(ModelError) as caught:
        read_tflite(detector(flexbuffer(OPTIONS | changes), scores, boxes), "refused")
    assert allowed in str(caught.value)


@pytest.mark.parametrize("options", [b"\x07", b"", bytes(range(40)), flexbuffer({})[:-1]])
def test_detectors_with_damaged_options(options: bytes) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(detector(options, (1, 7, 3), "f32"), "damaged")
    assert "cannot be read; allowed: a flexbuffer map of numbers" in str(caught.value)


def test_the_first_command_of_a_detector_is_charged() -> None:
    graph = read_tflite(detector(flexbuffer(OPTIONS), (1, 7, 3), "f32"), "detector")
    program = compile_tightly(np.random.default_rng(0), graph)
    charged = [c.operations for c in program.commands if isinstance(c, Host)]
    # 7 boxes decoded by 20 operations, 3 scores compared of each; at most 5 compared with all 7.
    assert charged[0] >= 7 * (20 + 3) + 16 * 7 * 5
    assert charged[1:] == [0, 0, 0]


@pytest.mark.parametrize("profile", ["tflite", "tflite_micro", "power_of_two", "dyadic"])
@pytest.mark.parametrize("name", ["mean", "sum"])
def test_profiles_that_no_runtime_confirms(name: str, profile: str) -> None:
    """The datapath equals the naive definition; where profiles have their own, results differ."""
    assert profile in operator(name).PROFILES
    differs = 0
    for seed in range(60):
        rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
        code = ("i8", "u8", "i16")[rng.integers(3)]
        layer = sum_of(rng, code) if name == "sum" else LAYERS[name](rng)
        graph = replace(read_tflite(layer.content, name), profile=profile)
        got = Machine(compile_tightly(rng, graph)).run(layer.inputs).outputs["y"][0]
        (node,) = graph.nodes
        one = [layer.inputs["x"][0]]
        np.testing.assert_array_equal(got, reference_values(graph, node, one)[0])
        plain = replace(graph, profile="tflite")
        differs += int((reference_values(plain, node, one)[0] != got).sum())
    own = profile in ("power_of_two", "dyadic") or (name, profile) == ("mean", "tflite_micro")
    assert (differs > 20) == own


def mean_of_49(total: int, profile: str) -> int:
    """The mean of 49 codes with this sum, from scale 0.05 to 0.04, zero points 0."""
    tensors = [x(1, 49, scale=np.float32(0.05)), a(1), y(1, scale=np.float32(0.04))]
    content = build_model(tensors, [Op("MEAN", ["x", "a"], "y")], ["x"], ["y"])
    graph = replace(read_tflite(content, "mean"), profile=profile)
    values = np.full((1, 1, 49), total // 49, np.int8)
    values[0, 0, : total % 49] += 1
    program = compile_tightly(np.random.default_rng(0), graph)
    return int(Machine(program).run({"x": values}).outputs["y"][0, 0])


@pytest.mark.golden
def test_mean_worked() -> None:
    """The exact mean of 1234 is 31.4796; the reference rounds it to 31.5 first, then away from 0."""
    assert [mean_of_49(total, "tflite") for total in (1234, -1234, 25, -25)] == [32, -32, 1, -1]
    assert [mean_of_49(total, "xnnpack") for total in (1234, -1234)] == [31, -31]
    # 25.18 codes; the ratio 1.25 is taken as 1.
    assert [mean_of_49(total, "power_of_two") for total in (1234, 98, -98)] == [25, 2, -2]


@pytest.mark.golden
def test_rows_worked() -> None:
    """Every kernel on a row that can be followed by hand; interpreted, the same codes."""
    row = np.array([[[10, 12, -5, 100]]], np.int8)
    tensors = [x(1, 4, scale=np.float32(0.02)), y(1, 4, scale=1 / 256, zero_point=-128)]
    content = build_model(tensors, [Op("SOFTMAX", ["x"], "y", SOFT)], ["x"], ["y"])
    for profile in ("tflite", "ruy"):
        graph = replace(read_tflite(content, "row"), profile=profile)
        program = compile_tightly(np.random.default_rng(0), graph)
        got = Machine(program).run({"x": row}).outputs["y"]
        assert got.tolist() == [[[-99, -98, -107, 47]]]
    wide = [x(1, 2, dtype="i16", scale=2.0**-11), y(1, 2, dtype="i16", scale=1 / 32768)]
    content = build_model(wide, [Op("SOFTMAX", ["x"], "y", SOFT)], ["x"], ["y"])
    program = compile_tightly(np.random.default_rng(0), read_tflite(content, "wide"))
    got = Machine(program).run({"x": np.array([[[7, 7]]], np.int16)}).outputs["y"]
    assert got.tolist() == [[[16384, 16384]]]


@pytest.mark.golden
@pytest.mark.parametrize("profile", ["tflite", "xnnpack"])
@pytest.mark.parametrize("code", ["i8", "u8"])
def test_an_edge_resized(code: str, profile: str) -> None:
    """0 and 100 to four columns: positions 0, 1/2, 1 and 3/2, the last beyond the edge."""
    tensors = [x(1, 1, 2, 1, dtype=code), a(1, 4), y(1, 1, 4, 1, dtype=code)]
    content = build_model(tensors, [Op("RESIZE_BILINEAR", ["x", "a"], "y")], ["x"], ["y"])
    graph = replace(read_tflite(content, "edge"), profile=profile)
    program = compile_tightly(np.random.default_rng(0), graph)
    edge = np.array([0, 100], {"i8": np.int8, "u8": np.uint8}[code]).reshape(1, 1, 1, 2, 1)
    got = Machine(program).run({"x": edge}).outputs["y"]
    assert got.reshape(-1).tolist() == [0, 50, 100, 100]


def test_micro_cuts_the_mean_of_equal_quantizations() -> None:
    """Sums of raw codes 7, -7, 5 and -1 over 4: TensorFlow Lite Micro's integer division."""
    tensors = [x(4, 4, scale=0.25, zero_point=9), a(1), y(4, scale=0.25, zero_point=9)]
    content = build_model(tensors, [Op("MEAN", ["x", "a"], "y")], ["x"], ["y"])
    graph = replace(read_tflite(content, "cut"), profile="tflite_micro")
    values = np.array([[1, 2, 3, 1], [-1, -2, -3, -1], [5, 5, -4, -1], [-1, 0, 0, 0]], np.int8)
    program = compile_tightly(np.random.default_rng(0), graph)
    got = Machine(program).run({"x": values[None]}).outputs["y"]
    assert got.tolist() == [[1, -1, 1, 0]]


def test_axes_that_are_neighbours_need_no_copy() -> None:
    assert view((2, 3, 4, 5), (1, 2)) == View(2, 12, 5)
    assert view((2, 3, 4, 5), (2, 3)) == View(6, 20, 1)
    assert view((2, 3, 4, 5), (0,)) == View(1, 2, 60)
    assert view((2, 3, 1, 5), (1, 3)) == View(2, 15, 1)
    assert view((1, 1), (0,)) == View(1, 1, 1)
    assert view((2, 3, 4), (0, 2)) is None


@pytest.mark.parametrize("seed", range(40))
def test_resizing_tiles_read_the_rows_they_need(seed: int) -> None:
    """Every tile of one band reads each row that the table names for it, and its neighbours at most."""
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 20, 2))
    bands = int(rng.choice([d for d in range(1, height + 1) if height % d == 0]))
    out_h = bands * int(rng.integers(1, 9))
    aligned, half = [(0, 0), (1, 0), (0, 1)][rng.integers(3)]
    tensors = [
        x(1, height, width, 1), a(out_h, width), y(1, out_h, width, 1)
    ]  # fmt: skip
    options = {"AlignCorners": bool(aligned), "HalfPixelCenters": bool(half)}
    op = Op("RESIZE_BILINEAR", ["x", "a"], "y", options)
    graph = read_tflite(build_model(tensors, [op], ["x"], ["y"]), "rows")
    (node,) = graph.nodes
    places = _places(_form(graph, node), node, height, out_h)
    nest = nest_of((1, height, width, 1), (1, out_h, width, 1))
    nest = retiled(nest, 1, nest.out_w, 1, nest.n, 1, nest.order)
    assert tile_count(nest) == nest.out_h
    for index in range(tile_count(nest)):
        tile = tile_at(nest, index)
        first = max(tile.h0 * nest.stride_h - nest.pad_top, 0)
        rows = ifmap_elements(nest, tile) // width
        made = out_h // nest.out_h
        for place in places[index * made : (index + 1) * made]:
            assert first <= place.lower <= place.upper < first + rows
