"""TFLite_Detection_PostProcess on the host: one of its four outputs, in the runtime's float32."""

from __future__ import annotations

import math

import numpy as np

from simulator.program.commands import Vector

_AT_ONCE = 8  # scores that the runtime's kernel dequantizes in one vector


def _float(command: Vector, key: str) -> np.float32:
    return np.int32(command.parameter(key)).view(np.float32)


def _real(command: Vector, what: str, values: np.ndarray) -> np.ndarray:
    scale = _float(command, f"{what}_scale")
    if scale == 0:
        return values
    return (values.astype(np.float32) - command.parameter(f"{what}_zero_point")) * scale


def _scores(command: Vector, values: np.ndarray) -> np.ndarray:
    """Whole vectors multiply before the zero point is taken off, which rounds differently."""
    scale = _float(command, "scores_scale")
    if scale == 0:
        return values
    codes = values.astype(np.float32)
    moved = -np.float32(command.parameter("scores_zero_point")) * scale
    first = np.arange(values.size).reshape(values.shape) < values.size // _AT_ONCE * _AT_ONCE
    return np.where(first, codes * scale + moved, _real(command, "scores", values))


def _decode(command: Vector, encoded: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(n, 4) float32: top, left, bottom, right."""
    scales = [float(_float(command, key)) for key in ("y_scale", "x_scale", "h_scale", "w_scale")]
    ratios = encoded[:, :4].astype(float) / np.array(scales)
    places, sizes = anchors[:, :2].astype(float), anchors[:, 2:].astype(float)
    centers = (ratios[:, :2] * sizes + places).astype(np.float32)
    # The C library's exp, which numpy's is not.
    powers = np.array([[math.exp(v) for v in row] for row in ratios[:, 2:]])
    halves = (0.5 * powers * sizes).astype(np.float32)
    return np.concatenate([centers - halves, centers + halves], axis=1)


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with each of the others; 0 where either is empty."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    sides = np.maximum(high - low, np.float32(0))
    shared = sides[:, 0] * sides[:, 1]
    full = (areas > 0) & (area > 0)
    union = np.where(full, area + areas - shared, np.float32(1))
    return np.where(full, shared / union, np.float32(0))


def _suppressed(command: Vector, boxes: np.ndarray, scores: np.ndarray, most: int) -> list[int]:
    kept = np.flatnonzero(scores >= _float(command, "nms_score_threshold"))
    order = kept[np.argsort(-scores[kept], kind="stable")]
    taken: list[int] = []
    while order.size and len(taken) < most:
        taken.append(int(order[0]))
        limit = _float(command, "nms_iou_threshold")
        order = order[1:][_overlaps(boxes[order[0]], boxes[order[1:]]) <= limit]
    return taken


def _detect(command: Vector, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(detections, 2): box and class."""
    most = command.parameter("max_detections")
    if not command.parameter("regular"):
        best = scores.argmax(axis=1)
        taken = _suppressed(command, boxes, scores.max(axis=1), most)
        return np.array([(i, best[i]) for i in taken], np.int64).reshape(-1, 2)
    found = np.zeros((0, 2), np.int64)
    per_class = min(command.parameter("detections_per_class"), most)
    for c in range(scores.shape[1]):
        taken = _suppressed(command, boxes, scores[:, c], per_class)
        found = np.concatenate([found, np.array([(i, c) for i in taken], np.int64).reshape(-1, 2)])
        order = np.argsort(-scores[found[:, 0], found[:, 1]], kind="stable")
        found = found[order[:most]]
    return found


def run(command: Vector, inputs: list[np.ndarray], out: np.ndarray) -> None:
    part, classes = command.parameter("part"), command.parameter("num_classes")
    for sample in range(out.shape[0]):
        encoded = _real(command, "boxes", inputs[0][sample, 0])
        anchors = _real(command, "anchors", inputs[2][sample])
        scores = _scores(command, inputs[1][sample, 0])[:, -classes:]
        boxes = _decode(command, encoded, anchors)
        found = _detect(command, boxes, scores)
        results = (boxes[found[:, 0]], found[:, 1], scores[found[:, 0], found[:, 1]])
        if part == 3:
            out[sample] = len(found)
        else:
            out[sample, 0, : len(found)] = results[part]
