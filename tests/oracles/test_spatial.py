"""The naive pooling, resizing, transposed convolution and batched products against LiteRT."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from tflite_builder import Op, Tensor, build_model

from oracles import spatial as naive
from oracles.elementwise import Q
from oracles.fixed import double_rounding, quantize_multiplier
from oracles.models import INT8, INT16, UINT8, indices, operator, random_codes, random_q, tensor
from oracles.runtime import Runtime
from oracles.softmax import softmax8

SAME, VALID = 0, 1


@pytest.mark.parametrize("width", [INT16, INT8, UINT8])
def test_average_pool(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(0)
    for case in range(60):
        q = random_q(rng, width, 0.05)
        h, w, kernel, stride = (int(v) for v in rng.integers((2, 2, 1, 1), (9, 9, 5, 4)))
        kernel = min(kernel, h, w)
        padding = int(rng.integers(2))
        codes = random_codes(rng, q, (1, h, w, 3))
        if case % 2:
            codes = (codes // 64).astype(codes.dtype)  # small sums meet ties
        sizes = [-(-s // stride) if padding == SAME else (s - kernel) // stride + 1 for s in (h, w)]
        pads = [
            max((n - 1) * stride + kernel - s, 0) // 2 if padding == SAME else 0
            for n, s in zip(sizes, (h, w), strict=True)
        ]
        options = {
            "Padding": padding,
            "StrideW": stride,
            "StrideH": stride,
            "FilterWidth": kernel,
            "FilterHeight": kernel,
        }
        y = operator("AVERAGE_POOL_2D", [(codes, q)], ((1, *sizes, 3), q), options)
        for i, j, c in np.ndindex(*sizes, 3):
            top, left = i * stride - pads[0], j * stride - pads[1]
            taps = codes[0, max(top, 0) : top + kernel, max(left, 0) : left + kernel, c]
            mine = naive.average([int(v) for v in taps.ravel()], q.low, q.high)
            assert mine == y[0, i, j, c]


@pytest.mark.parametrize("width", [INT8, INT16, UINT8])
@pytest.mark.parametrize(("align", "half"), [(False, False), (True, False), (False, True)])
def test_resize_bilinear(width: tuple[int, bool], align: bool, half: bool) -> None:
    rng = np.random.default_rng(1)
    for case in range(60):
        q = random_q(rng, width, 0.1)
        h, w, *size = (int(v) for v in rng.integers(1, 12, 4))
        codes = random_codes(rng, q, (1, h, w, 2))
        if case % 2:
            codes = (codes // 64).astype(codes.dtype)
        options = {"AlignCorners": align, "HalfPixelCenters": half}
        y = operator(
            "RESIZE_BILINEAR", [(codes, q)], ((1, *size, 2), q), options, [indices("size", size)]
        )
        resize = naive.resize_bilinear if q.signed else naive.resize_bilinear_unsigned
        np.testing.assert_array_equal(resize(codes[0], (size[0], size[1]), align, half), y[0])


@pytest.mark.parametrize("width", [INT8, INT16])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("half", [False, True])
def test_resize_nearest(width: tuple[int, bool], align: bool, half: bool) -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        q = random_q(rng, width, 0.1)
        h, w, *size = (int(v) for v in rng.integers(1, 25, 4))
        codes = random_codes(rng, q, (1, h, w, 1))
        options = {"AlignCorners": align, "HalfPixelCenters": half}
        y = operator(
            "RESIZE_NEAREST_NEIGHBOR",
            [(codes, q)],
            ((1, *size, 1), q),
            options,
            [indices("size", size)],
        )
        rows, columns = (
            naive.nearest(h, size[0], align, half),
            naive.nearest(w, size[1], align, half),
        )
        np.testing.assert_array_equal(codes[0][np.ix_(rows, columns)], y[0])


class Transposed(NamedTuple):
    """A TRANSPOSE_CONV: weights OHWI with a scale per output channel."""

    x: Q
    out: Q
    weights: np.ndarray
    scales: np.ndarray
    bias: np.ndarray | None
    stride: int
    padding: int

    def run(self, codes: np.ndarray, size: list[int]) -> np.ndarray:
        shape = (1, *size, self.weights.shape[0])
        tensors = [
            tensor("x", codes.shape, self.x),
            indices("shape", shape),
            Tensor("w", self.weights.shape, "i8", self.scales, 0, self.weights),
            tensor("y", shape, self.out),
        ]
        names = ["shape", "w", "x"]
        if self.bias is not None:
            scales = self.scales * np.float32(self.x.scale)
            tensors.append(Tensor("b", self.bias.shape, "i32", scales, 0, self.bias))
            names.append("b")
        options = {"Padding": self.padding, "StrideW": self.stride, "StrideH": self.stride}
        op = Op("TRANSPOSE_CONV", names, "y", options)
        return Runtime(build_model(tensors, [op], ["x"], ["y"])).run(codes)


@pytest.mark.parametrize("padding", [SAME, VALID])
def test_transpose_conv(padding: int) -> None:
    rng = np.random.default_rng(3)
    for case in range(60):
        x, out = random_q(rng, INT8, 0.02), random_q(rng, INT8, 0.4)
        h, w, channels, outputs = (int(v) for v in rng.integers(1, 6, 4))
        kernel, stride = int(rng.integers(1, 5)), int(rng.integers(1, 4))
        scales = np.float32(0.01) * np.exp2(rng.uniform(-1, 1, outputs)).astype(np.float32)
        if case % 3 == 0:  # ties
            x, out = x._replace(scale=2.0**-6), out._replace(scale=2.0**-2)
            scales = np.full(outputs, 2.0**-7, np.float32)
        grow = 0 if padding == SAME else max(kernel - stride, 0)
        size = [h * stride + grow, w * stride + grow]
        weights = rng.integers(-127, 128, (outputs, kernel, kernel, channels)).astype(np.int8)
        bias = rng.integers(-3000, 3000, outputs).astype(np.int32) if case % 4 else None
        codes = random_codes(rng, x, (1, h, w, channels))
        y = Transposed(x, out, weights, scales, bias, stride, padding).run(codes, size)
        centred = codes[0].astype(np.int64) - x.zero_point
        acc = naive.transpose_conv(centred, weights, bias, size, stride)
        for i, j, c in np.ndindex(*size, outputs):
            scaling = quantize_multiplier(x.scale * float(scales[c]) / out.scale)
            code = double_rounding(int(acc[i, j, c]), *scaling) + out.zero_point
            assert out.fit(code) == y[0, i, j, c]


@pytest.mark.parametrize("width", [INT8, INT16])
def test_batch_matmul(width: tuple[int, bool]) -> None:
    rng = np.random.default_rng(4)
    for case in range(120):
        qa, qb = random_q(rng, width, 0.02), random_q(rng, width, 0.02)
        out = random_q(rng, width, 0.02 * 0.02 * (2**15 if width == INT16 else 100))
        if case % 3 == 0:
            qa, qb, out = (q._replace(scale=2.0**-6) for q in (qa, qb, out))
        m, n, k = int(rng.integers(1, 8)), int(rng.integers(1, 8)), int(rng.integers(1, 40))
        a, b = random_codes(rng, qa, (2, m, k)), random_codes(rng, qb, (2, k, n))
        turn_a, turn_b = bool(rng.integers(2)), bool(rng.integers(2))
        given_a = np.ascontiguousarray(a.swapaxes(1, 2)) if turn_a else a
        given_b = np.ascontiguousarray(b.swapaxes(1, 2)) if turn_b else b
        options = {"AdjX": turn_a, "AdjY": turn_b}
        y = operator("BATCH_MATMUL", [(given_a, qa), (given_b, qb)], ((2, m, n), out), options)
        mine = np.stack([naive.batch_matmul(a[i], b[i], qa, qb, out) for i in range(2)])
        np.testing.assert_array_equal(mine, y)


def test_batch_matmul_scale_is_a_float32_product() -> None:
    """Long products that end at the edges of the output codes."""
    rng = np.random.default_rng(6)
    terms, told_apart = 1000, 0
    for _ in range(10):
        qa, qb = (random_q(rng, INT8, 0.02)._replace(zero_point=0) for _ in range(2))
        real = qa.scale * qb.scale
        out = Q(float(np.float32(real * 127 * terms)), 0)
        edges = (rng.integers(-126, 126, 64) + 0.5) * out.scale / real + rng.integers(-1, 2, 64)
        a = np.zeros((1, 64, terms + 1), np.int8)
        for row, edge in enumerate(edges.astype(int)):
            whole = round(edge / 127)
            a[0, row, :terms] = np.diff(np.linspace(0, whole, terms + 1).astype(int))
            a[0, row, terms] = edge - 127 * whole
        b = np.full((1, terms + 1, 1), 127, np.int8)
        b[0, terms] = 1
        y = operator("BATCH_MATMUL", [(a, qa), (b, qb)], ((1, 64, 1), out))
        np.testing.assert_array_equal(naive.batch_matmul(a[0], b[0], qa, qb, out), y[0])
        other = quantize_multiplier(real / out.scale)
        acc = (a.astype(np.int64) @ b.astype(np.int64)).ravel()
        told_apart += int(np.sum([double_rounding(int(v), *other) for v in acc] != y.ravel()))
    assert told_apart > 10


@pytest.mark.parametrize("source", [INT8, UINT8])
@pytest.mark.parametrize("bits", [8, 16])
def test_softmax(source: tuple[int, bool], bits: int) -> None:
    rng = np.random.default_rng(5)
    signed = source == INT8 or bits == 16
    out = Q(2.0**-bits, -(1 << (bits - 1)) if signed else 0, bits, signed)
    for _ in range(60):
        x = random_q(rng, source, 0.06)
        beta = float(np.float32(rng.choice([1.0, 0.37])))
        codes = random_codes(rng, x, (10, int(rng.integers(1, 40))))
        y = operator("SOFTMAX", [(codes, x)], (codes.shape, out), {"Beta": beta})
        rows = [[int(c) for c in row] for row in codes]
        np.testing.assert_array_equal([softmax8(r, x.scale, beta, out) for r in rows], y)
