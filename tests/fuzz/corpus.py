"""The files that fuzzing starts from, made by the builders of the other tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import broken_tflite
import numpy as np
from onnx_builder import OnnxBuilder
from onnx_models import PAIRS, codes, qdq_end, qdq_start, qdq_unary
from qonnx_models import dense_network, image_network
from random_layers import LAYERS
from real_models import SHARED

from simulator.resources import data_folder

# A file a fuzzer can change and read many times a second.
MOST_BYTES = 1 << 15


def _tflite() -> Iterator[bytes]:
    for maker in LAYERS.values():
        for seed in range(2):
            yield maker(np.random.default_rng(seed)).content
    yield broken_tflite.conv_model().write()
    yield broken_tflite.pool_model().write()
    yield (data_folder("workloads") / "digits" / "digits_int8.tflite").read_bytes()


def _onnx_node(operator: str, *operands: object, **attrs: Any) -> bytes:
    """A float operator on codes, with constant operands after the first."""
    b = qdq_start()
    names = [b.constant(f"c{i}", operand) for i, operand in enumerate(operands)]
    b.node(operator, ["x_dq", *names], "y", **attrs)
    return qdq_end(b, "y")


def _split() -> bytes:
    b = qdq_start()
    b.node("Split", ["x_dq"], ["y", "z"], axis=1, num_outputs=2)
    b.qdq("z", 0.03, 100)
    b.output("z_dq")
    return qdq_end(b, "y")


def _folded() -> bytes:
    """A reshape to a shape computed from constants, as exporters leave it."""
    b = qdq_start()
    b.node("Shape", ["x_dq"], "s")
    b.constant("one", [1])
    b.constant("zero", 0)
    b.node("Gather", ["s", "zero"], "first", axis=0)
    b.constant("axes", [0])
    b.node("Unsqueeze", ["first", "axes"], "batch")
    b.node("Neg", ["one"], "rest")
    b.node("Concat", ["batch", "rest"], "shape", axis=0)
    b.node("Reshape", ["x_dq", "shape"], "y")
    return qdq_end(b, "y")


def _integer_product() -> bytes:
    b = OnnxBuilder(21)
    b.input("x", (3, 8))
    b.constant("w", codes(8, 5))
    b.constant("w_zero", np.int8(0))
    b.node("DynamicQuantizeLinear", ["x"], ["q", "q_scale", "q_zero"])
    b.node("MatMulInteger", ["q", "w", "q_zero", "w_zero"], "sums")
    b.node("Cast", ["sums"], "real", to=1)
    b.node("Mul", ["real", "q_scale"], "y")
    b.output("y")
    return b.write()


def _onnx_moves() -> Iterator[bytes]:
    yield _onnx_node("Reshape", [1, 24, 8])
    yield _onnx_node("Slice", [0, 1], [3, 5], [1, 2], [1, 2])
    yield _onnx_node("Gather", [0, 2, 1], axis=1)
    yield _onnx_node("Pad", [0, 0, 1, 1, 0, 0, 1, 1], mode="constant")
    yield _onnx_node("Pad", [0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")
    yield _onnx_node("Squeeze", [0])
    yield _onnx_node("Clip", np.float32(0), np.float32(6))
    yield _onnx_node("ReduceMean", [2, 3], keepdims=1)
    yield qdq_unary("Transpose", perm=[0, 2, 3, 1])
    yield qdq_unary("Flatten", axis=1)
    yield qdq_unary("DepthToSpace", blocksize=2)
    yield qdq_unary("SpaceToDepth", blocksize=2)
    yield qdq_unary("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    yield qdq_unary("GlobalMaxPool")
    yield qdq_unary("Relu")
    yield qdq_unary("HardSwish")
    yield _split()
    yield _folded()
    yield _integer_product()


def _onnx() -> Iterator[bytes]:
    yield from _onnx_moves()
    for pair in PAIRS.values():
        for make in pair:
            yield make()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        yield dense_network(rng)[0]
        yield image_network(rng)[0]


def write_corpus(kind: str, folder: Path, real: bool) -> int:
    """Write the files of ``kind`` into ``folder``; with ``real`` also the small ones of ``../shared``.

    Returns how many there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = list({"tflite": _tflite, "onnx": _onnx}[kind]())
    if real:
        files += [p.read_bytes() for p in sorted(SHARED.rglob(f"*.{kind}"))]
    kept = [content for content in files if len(content) <= MOST_BYTES]
    for index, content in enumerate(kept):
        (folder / f"{index:03}.{kind}").write_bytes(content)
    return len(kept)
