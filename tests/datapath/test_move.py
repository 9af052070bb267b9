"""Strided copies against a loop over their indices."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.datapath.move import run_move
from simulator.program.commands import Move, Piece

Rng = np.random.Generator
SAMPLES = 2


def one_by_one(command: Move, sources: list[np.ndarray], out: np.ndarray) -> None:
    """The definition: ``fill``, then every element of every piece in order."""
    for sample in range(out.shape[0]):
        flat = [out.dtype.type(command.fill)] * out[sample].size
        for piece in command.pieces:
            source = sources[piece.source][sample].reshape(-1).tolist()
            for index in np.ndindex(*piece.sizes):
                there, here = piece.ofmap_offset, piece.source_offset
                for i, to, of in zip(index, piece.ofmap_strides, piece.source_strides, strict=True):
                    there, here = there + i * to, here + i * of
                flat[there] = source[here]
        out[sample] = np.array(flat, out.dtype).reshape(out[sample].shape)


def random_piece(rng: Rng, lengths: list[int], shape: tuple[int, ...]) -> Piece:
    """Every so many-th element of part of the ofmap, in any order of loops, from anywhere."""
    sizes, strides, offset = [], [], 0
    across = [int(np.prod(shape[d + 1 :])) for d in range(len(shape))]
    for size, stride in zip(shape, across, strict=True):
        start, step = int(rng.integers(size)), int(rng.integers(1, 3))
        count = int(rng.integers(1, (size - start - 1) // step + 2))
        backwards = bool(rng.integers(2))
        sizes.append(count)
        strides.append(-step * stride if backwards else step * stride)
        offset += (start + (count - 1) * step * backwards) * stride
    order = rng.permutation(len(shape))
    source = int(rng.integers(len(lengths)))
    room, chosen, first = lengths[source] - 1, [0] * len(shape), 0
    for d in rng.permutation(len(shape)):  # as far as the source reaches; 0 repeats
        reach = room // max(sizes[d] - 1, 1)
        step = int(rng.integers(-reach, reach + 1)) if rng.integers(4) else 0
        chosen[d] = step
        room -= abs(step) * (sizes[d] - 1)
        first += max(-step, 0) * (sizes[d] - 1)
    first += int(rng.integers(room + 1))
    return Piece(
        source, tuple(sizes[d] for d in order), first, tuple(chosen[d] for d in order), offset,
        tuple(strides[d] for d in order),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32])
def test_equals_a_loop_over_the_indices(dtype: type) -> None:
    rng = np.random.default_rng(np.dtype(dtype).num)
    repeats = reverses = 0
    for _ in range(120):
        shape = tuple(int(s) for s in rng.integers(1, 6, rng.integers(0, 5)))
        sources = [
            rng.integers(0, 100, (SAMPLES, int(n))).astype(dtype)
            for n in rng.integers(1, 60, rng.integers(1, 4))
        ]
        lengths = [s.shape[1] for s in sources]
        pieces = tuple(random_piece(rng, lengths, shape) for _ in range(rng.integers(1, 4)))
        names = tuple(f"s{i}" for i in range(len(sources)))
        command = Move("move", "move", names, "y", pieces, fill=int(rng.integers(0, 100)))
        got, expected = np.zeros((SAMPLES, *shape), dtype), np.zeros((SAMPLES, *shape), dtype)
        run_move(command, sources, got)
        one_by_one(command, sources, expected)
        np.testing.assert_array_equal(got, expected)
        loops = [z for p in pieces for z in zip(p.sizes, p.source_strides, strict=True) if z[0] > 1]
        repeats += sum(stride == 0 for _, stride in loops)
        reverses += sum(stride < 0 for _, stride in loops)
    assert repeats > 10
    assert reverses > 10


@pytest.mark.golden
def test_a_transpose_a_repeat_and_a_fill() -> None:
    x = np.array([[[1, 2, 3], [4, 5, 6]]], np.int8)
    transposed = Piece(0, (3, 2), 0, (1, 3), 0, (2, 1))
    last = Piece(0, (2,), 5, (0,), 6, (1,))
    out = np.zeros((1, 10), np.int8)
    run_move(Move("m", "m", ("x",), "y", (transposed, last), fill=-9), [x], out)
    assert out.tolist() == [[1, 4, 2, 5, 3, 6, 6, 6, -9, -9]]
