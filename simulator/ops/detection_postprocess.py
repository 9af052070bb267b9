"""TFLite_Detection_PostProcess: boxes of a single-shot detector, and of those that overlap the best.

Boxes are decoded from their anchors; of each class, or in the fast variant of each box's best class, boxes
are taken by falling score unless they overlap one already taken. All in float32, on the host.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simulator.graph import Graph, Node
from simulator.hwconfig import Device
from simulator.ops import _common as common
from simulator.ops.add import elementwise_nest
from simulator.profiles import RUN, SOURCE
from simulator.program.commands import LaneWork, Parameters, Vector

SUMMARY = "boxes, classes, scores and number of detected objects"
COMMAND = "host detection_postprocess"
PROFILES = {"tflite": RUN, "tflite_micro": SOURCE, "xnnpack": RUN, "ruy": RUN}

_SCALES = ("y_scale", "x_scale", "h_scale", "w_scale")
_AT_ONCE = 8  # scores that the runtime's kernel dequantizes in one vector


def known_types(graph: Graph, node: Node) -> bool:
    """boxes and scores are float32 or uint8; anchors are a constant of the boxes' type"""
    boxes, scores, anchors = (graph.spec(n).dtype for n in node.inputs)
    known = boxes in ("f32", "u8") and scores in ("f32", "u8")
    return known and anchors == boxes and graph.constant(node.inputs[2])


def known_shapes(graph: Graph, node: Node) -> bool:
    """boxes are [1, n, at least 4], scores [1, n, classes] and anchors [n, 4]"""
    boxes, scores, anchors = (graph.spec(n).shape for n in node.inputs)
    agree = (boxes[0], scores[:2], anchors) == (1, boxes[:2], (boxes[1], 4))
    return agree and boxes[2] >= 4


def one_scale_each(graph: Graph, node: Node) -> bool:
    """uint8 inputs have one scale and one zero point"""
    found = [graph.tensors[n] for n in node.inputs if graph.spec(n).dtype == "u8"]
    return all(t.quantization is not None and not t.quantization.per_channel for t in found)


def known_classes(graph: Graph, node: Node) -> bool:
    """num_classes is the number of scores of a box, or one less where the first is the background"""
    classes = node.integer("num_classes")
    return classes >= 1 and graph.spec(node.inputs[1]).shape[2] - classes in (0, 1)


def known_limits(graph: Graph, node: Node) -> bool:
    """max_classes_per_detection is 1; max_detections and detections_per_class are at least 1"""
    least = min(node.integer("max_detections"), node.integer("detections_per_class"))
    return node.integer("max_classes_per_detection") == 1 and least >= 1


def known_numbers(graph: Graph, node: Node) -> bool:
    """nms_iou_threshold lies above 0 and at most at 1; no scale is 0"""
    scales = all(node.real(key) != 0 for key in _SCALES)
    return 0 < node.real("nms_iou_threshold") <= 1 and scales


RULES = (
    common.takes(3, 3), known_types, known_shapes, one_scale_each, known_classes, known_limits,
    known_numbers,
)  # fmt: skip


def infer(graph: Graph, node: Node) -> list[tuple[int, ...]]:
    most = node.integer("max_detections")
    return [(1, most, 4), (1, most), (1, most), (1,)]


class _Box(NamedTuple):
    top: np.float32
    left: np.float32
    bottom: np.float32
    right: np.float32

    @property
    def area(self) -> np.float32:
        return (self.bottom - self.top) * (self.right - self.left)


def _real(graph: Graph, name: str, values: np.ndarray) -> np.ndarray:
    """float32 values; codes less their zero point, times the scale."""
    if graph.spec(name).real:
        return values
    params = graph.quantization(name)
    return (values.astype(np.float32) - np.float32(params.zero_point)) * np.float32(params.scale)


def _real_scores(graph: Graph, name: str, values: np.ndarray) -> np.ndarray:
    """As :func:`_real`, but whole vectors are multiplied first: code * scale + (-zero point * scale)."""
    found = _real(graph, name, values).reshape(-1)
    if not graph.spec(name).real:
        params = graph.quantization(name)
        whole = found.size // _AT_ONCE * _AT_ONCE
        scale = np.float32(params.scale)
        codes = values.reshape(-1)[:whole].astype(np.float32)
        found[:whole] = codes * scale + np.float32(-params.zero_point) * scale
    return found.reshape(values.shape)


def _decoded(node: Node, encoded: np.ndarray, anchor: np.ndarray) -> _Box:
    """In double, each result rounded to float32; then float32."""
    y, x, h, w = (float(v) for v in encoded[:4])
    anchor_y, anchor_x, anchor_h, anchor_w = (float(v) for v in anchor)
    scale_y, scale_x, scale_h, scale_w = (node.real(key) for key in _SCALES)
    center_y = np.float32(y / scale_y * anchor_h + anchor_y)
    center_x = np.float32(x / scale_x * anchor_w + anchor_x)
    half_h = np.float32(0.5 * math.exp(h / scale_h) * anchor_h)
    half_w = np.float32(0.5 * math.exp(w / scale_w) * anchor_w)
    return _Box(center_y - half_h, center_x - half_w, center_y + half_h, center_x + half_w)


def _overlap(a: _Box, b: _Box) -> np.float32:
    """Intersection over union."""
    zero = np.float32(0)
    if a.area <= 0 or b.area <= 0:
        return zero
    height = max(min(a.bottom, b.bottom) - max(a.top, b.top), zero)
    width = max(min(a.right, b.right) - max(a.left, b.left), zero)
    common_area = height * width
    return common_area / (a.area + b.area - common_area)


def _taken(node: Node, boxes: list[_Box], scores: list[np.float32], most: int) -> list[int]:
    """Boxes of one class by falling score, of equal ones the first, without those that overlap."""
    threshold = np.float32(node.real("nms_score_threshold"))
    limit = np.float32(node.real("nms_iou_threshold"))
    waiting = [i for i, score in enumerate(scores) if score >= threshold]
    waiting.sort(key=lambda i: -scores[i])
    taken: list[int] = []
    while waiting and len(taken) < most:
        best = waiting.pop(0)
        taken.append(best)
        waiting = [i for i in waiting if not _overlap(boxes[best], boxes[i]) > limit]
    return taken


def _detections(node: Node, boxes: list[_Box], scores: np.ndarray) -> list[tuple[int, int]]:
    """(box, class) of every detection; ``scores`` without the background."""
    most = node.integer("max_detections")
    if not node.integer("regular"):
        best = [row.tolist().index(row.max()) for row in scores]
        highest = [row[c] for row, c in zip(scores, best, strict=True)]
        return [(i, best[i]) for i in _taken(node, boxes, highest, most)]
    found: list[tuple[int, int]] = []
    per_class = min(node.integer("detections_per_class"), most)
    for c in range(scores.shape[1]):
        found += [(i, c) for i in _taken(node, boxes, list(scores[:, c]), per_class)]
        found.sort(key=lambda d: -scores[d])
        del found[most:]
    return found


def reference(graph: Graph, node: Node, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """Places beyond the last detection are 0; the runtime's fast variant leaves them unwritten."""
    encoded = _real(graph, node.inputs[0], inputs[0])[0]
    anchors = _real(graph, node.inputs[2], graph.constants[node.inputs[2]])
    scores = _real_scores(graph, node.inputs[1], inputs[1])[0]
    scores = scores[:, scores.shape[1] - node.integer("num_classes") :]
    boxes = [_decoded(node, e, a) for e, a in zip(encoded, anchors, strict=True)]
    found = _detections(node, boxes, scores)
    results = [np.zeros(shape, np.float32) for shape in infer(graph, node)]
    for place, (box, c) in enumerate(found):
        results[0][0, place] = boxes[box]
        results[1][0, place] = c
        results[2][0, place] = scores[box, c]
    results[3][0] = len(found)
    return results


def _word(value: float) -> int:
    return int(np.float32(value).view(np.int32))


def _parameters(graph: Graph, node: Node) -> Parameters:
    """Integers, and float32 numbers as their words; a scale of 0 stands for float32 inputs."""
    keys = ("max_detections", "num_classes", "regular", "detections_per_class")
    numbers = [(key, node.integer(key)) for key in keys]
    reals = ("nms_score_threshold", "nms_iou_threshold", *_SCALES)
    numbers += [(key, _word(node.real(key))) for key in reals]
    for what, name in zip(("boxes", "scores", "anchors"), node.inputs, strict=True):
        params = None if graph.spec(name).real else graph.quantization(name)
        numbers.append((f"{what}_zero_point", params.zero_point if params else 0))
        numbers.append((f"{what}_scale", _word(params.scale) if params else 0))
    return tuple(numbers)


def _operations(graph: Graph, node: Node) -> int:
    """What the host does: 20 operations to decode a box, a comparison of every score, and for every
    detection 16 operations per box that it might overlap."""
    count, classes = graph.spec(node.inputs[1]).shape[1:]
    lists = node.integer("num_classes") if node.integer("regular") else 1
    return count * (20 + classes) + 16 * count * node.integer("max_detections") * lists


def lower(graph: Graph, node: Node, device: Device) -> common.Lowered:
    """One command per output; the first is charged for the work."""
    commands = []
    for part, name in enumerate(node.outputs):
        shape = graph.spec(name).shape
        cycles = -(-_operations(graph, node) // math.prod(shape)) if part == 0 else 0
        commands.append(Vector(
            name=node.name if part == 0 else name, operator=node.operator,
            function="detection_postprocess", inputs=node.inputs, ofmap=name,
            nest=elementwise_nest(shape), parameters=(("part", part), *_parameters(graph, node)),
            lane=LaneWork(cycles=cycles, multiplies=0, adds=0),
        ))  # fmt: skip
    return common.Lowered(tuple(commands))
