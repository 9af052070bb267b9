"""Products on the processor's dot-product instruction: equal in every bit to the portable loops, and to
sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_devices import compile_tightly
from random_layers import LAYERS

from simulator.datapath import matmul, output, packed, packing
from simulator.datapath.counts import EXCESS, FIRST, NEVER, OVERFLOWS, new_counts
from simulator.datapath.machine import Machine, Values
from simulator.datapath.matmul import Channels, Numerics
from simulator.datapath.units import PORTABLE, VARIABLE, available_units, chosen_unit
from simulator.errors import UsageError
from simulator.fixedpoint.requantize import KINDS, REQUANTIZERS
from simulator.importers.tflite import read_tflite
from simulator.program.commands import LaneWork, Matmul, Requantize
from simulator.program.nest import Nest, untiled
from simulator.tensor import TensorSpec

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "batch_matmul")
PLAIN = [name for name in REQUANTIZERS if name != "reduced_multiplier"]
FAST = [unit for unit in available_units() if unit != PORTABLE]
needs_unit = pytest.mark.skipif(not FAST, reason="this processor has no dot products")


def test_the_unit_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_unit() == available_units()[0]
    monkeypatch.setenv(VARIABLE, PORTABLE)
    assert chosen_unit() == PORTABLE
    monkeypatch.setenv(VARIABLE, "gpu")
    allowed = ", ".join(available_units())
    with pytest.raises(UsageError, match=rf"^\$NPUSIM_KERNELS: 'gpu'; allowed: {allowed}$"):
        chosen_unit()


@needs_unit
@pytest.mark.parametrize("name", PRODUCTS)
def test_layers_give_the_same_bits_on_every_unit(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = 0
    for seed in range(40):
        rng = np.random.default_rng([seed, 4])
        layer = LAYERS[name](rng)
        wide = {
            "ifmap_bits": 16, "weight_bits": 16,
            "accumulator_bits": int(rng.choice([20, 32, 48])),
            "overflow": str(rng.choice(["wrap", "wrap", "saturate"])),
            "psum_bits": int(rng.choice([14, 18])) if rng.integers(3) == 0 else None,
        }  # fmt: skip
        program = compile_tightly(rng, read_tflite(layer.content, name), **wide)
        found: dict[str, Values] = {}
        for unit in available_units():
            monkeypatch.setenv(VARIABLE, unit)
            machine = Machine(program)
            used += any(not isinstance(p.way, matmul.Sums) for p in machine._products.values())
            found[unit] = machine.run(layer.inputs)
        for unit in FAST:
            assert found[unit].counts == found[PORTABLE].counts
            for name_of, values in found[unit].outputs.items():
                expected = found[PORTABLE].outputs[name_of]
                np.testing.assert_array_equal(values, expected, f"{unit}, seed {seed}")
    assert used > 20 or name == "batch_matmul"


@needs_unit
@pytest.mark.parametrize("out_type", [np.int8, np.uint8, np.int16])
def test_output_stage_at_the_extremes(out_type: type) -> None:
    """Sums up to the ends of int32, and next to the ties of the second rounding."""
    rng, rows, columns = np.random.default_rng(3), 48, 37
    finish_at = REQUANTIZERS["double_rounding"].apply
    info = np.iinfo(out_type)
    for turn in range(60):
        shift = rng.integers(-31, 1, columns) if turn % 3 else rng.integers(0, 8, columns)
        multiplier = rng.integers(1 << 30, 1 << 31, columns)
        multiplier[:4] = (1 << 30, (1 << 31) - 1, (1 << 30) + 1, 0)
        reach = (1 << 31) >> np.maximum(shift, 0)
        sums = rng.integers(-reach, reach, (rows, columns))
        sums[0], sums[1] = -reach, reach - 1
        # A sum that the first rounding takes to k + 1/2 of the second, or next to it.
        ties = ((rng.integers(-300, 300, (20, columns)) * 2 + 1) << np.maximum(-shift - 1, 0)) * 2
        near = ties + rng.integers(-2, 3, ties.shape)
        sums[2:22] = np.clip(near, -reach, reach - 1)
        bias = rng.integers(-(1 << 31), 1 << 31, columns).astype(np.int32)
        zero = int(rng.choice([info.min, info.max, 0, 3]))
        stage = Requantize("double_rounding", "m", "s", zero, int(info.min), int(info.max))
        channels = Channels(bias.astype(np.int64), multiplier, shift, np.zeros((0, 0), np.int64))
        finish = output.finish_of(bias, channels)
        blocks = np.zeros((1, 1, 4), np.int64)
        numbers = output.numbers_of(finish, blocks, stage)
        kind = KINDS["double_rounding"]
        numerics = Numerics(
            0, 0, 0, 32, False, 0, 4, kind, kind, columns, zero, int(info.min), int(info.max), 32, 1
        )
        way = output.way_of(numerics, columns, np.dtype(out_type))
        assert (way == output.DOUBLE_BYTES) == (np.dtype(out_type).itemsize == 1)
        room = np.zeros(rows * columns + 16, np.int32)
        block = room[: rows * columns].reshape(rows, columns)
        block[:] = (sums - bias).astype(np.int32)  # wraps, and so does the sum with the bias
        made = np.zeros((rows, columns), out_type)
        whole = output.Stage(finish, way, numbers, 0)
        output.finished(
            block,
            rows,
            0,
            columns,
            whole,
            numbers[0, 0],
            (0, columns),
            made,
            new_counts(),
        )
        for r, c in np.ndindex(rows, columns):
            given = (np.int64(v) for v in (sums[r, c], multiplier[c], shift[c]))
            code = zero + int(finish_at(*given))
            assert made[r, c] == min(max(code, info.min), info.max), (sums[r, c], shift[c])


@st.composite
def nests(draw: st.DrawFn) -> Nest:
    """Any convolution, its padding as large as one likes; or a product of matrices."""
    size = st.integers(1, 9)
    if draw(st.booleans()):
        out = draw(st.integers(1, 40)), draw(size)  # of several strips, too
        k, n = draw(st.integers(1, 700)), draw(st.integers(1, 150))
        return untiled(out=out, n=n, k=k, ifmap=out)
    depthwise = draw(st.booleans())
    kernel, dilation = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), draw(st.integers(1, 2))
    stride, pad = draw(st.integers(1, 3)), (draw(st.integers(0, 3)), draw(st.integers(0, 3)))
    out = draw(size), draw(size)
    groups = draw(st.integers(2, 70)) if depthwise else draw(st.integers(1, 3))
    return untiled(
        out=out, groups=groups, n=1 if depthwise else draw(st.integers(1, 150)),
        k=1 if depthwise else draw(st.integers(1, 40)), kernel=kernel, stride=(stride, stride),
        dilation=(dilation, dilation), pad=pad, ifmap=(draw(size), draw(size)),
    )  # fmt: skip


def sums_written_out(
    nest: Nest, x: np.ndarray, weights: np.ndarray, offsets: tuple[int, int, int], bias: np.ndarray
) -> np.ndarray:
    """(samples, out_h, out_w, channels): the definition, taps outside the image being the pad code."""
    ifmap_offset, weight_offset, pad = offsets
    samples = x.shape[0]
    around = np.full((samples, 64, 64, x.shape[3]), pad, np.int64)
    around[:, 16 : 16 + nest.in_h, 16 : 16 + nest.in_w] = x
    around -= ifmap_offset
    total = np.zeros((samples, nest.out_h, nest.out_w, nest.groups, nest.n), np.int64)
    for oy, ox, ky, kx in np.ndindex(nest.out_h, nest.out_w, nest.kernel_h, nest.kernel_w):
        iy = 16 + oy * nest.stride_h + ky * nest.dilation_h - nest.pad_top
        ix = 16 + ox * nest.stride_w + kx * nest.dilation_w - nest.pad_left
        pixel = around[:, iy, ix].reshape(samples, nest.groups, nest.k)
        taps = weights[:, ky, kx].astype(np.int64) - weight_offset
        total[:, oy, ox] += np.einsum("sgk,gkn->sgn", pixel, taps)
    return total.reshape(samples, nest.out_h, nest.out_w, -1) + bias


def _on_every_unit(
    command: Matmul, weights: np.ndarray, channels: Channels, numerics: Numerics, never: bool,
    x: np.ndarray, ifmap: TensorSpec, expected: np.ndarray, counts: np.ndarray,
) -> int:  # fmt: skip
    """Check every unit that takes the operands; returns how many did."""
    done = 0
    for unit in FAST:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, unit)
            size = packing.operand_size(command, weights, ifmap, np.int32)
            if size == 0:
                continue
            ready = packing.pack(command, weights, channels, size, x.dtype.kind == "i")
        for threads in (1, 3):
            made, counted = np.zeros_like(expected), new_counts()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(packed, "_WORK_OF_A_THREAD", 1)
                packed.run(ready, command, channels, numerics, never, x, made, counted, threads)
            np.testing.assert_array_equal(made, expected, unit)
            assert counted[OVERFLOWS:].tolist() == counts[OVERFLOWS:].tolist()
        done += 1
    return done


@needs_unit
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    nests(), st.sampled_from(["i8", "u8", "i4", "u3", "i11", "u9"]),
    st.sampled_from(["i8", "u8", "i2", "u4", "i9"]), st.sampled_from(PLAIN),
    st.sampled_from([12, 20, 32]), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_nest(nest: Nest, x_type: str, w_type: str, kind: str, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x_spec, w_spec = TensorSpec((), x_type), TensorSpec((), w_type)

    def codes(spec: TensorSpec, *shape: int) -> np.ndarray:
        return rng.integers(spec.minimum, spec.maximum, shape, spec.container, endpoint=True)

    samples, outputs = 2, nest.groups * nest.n
    x = codes(x_spec, samples, nest.in_h, nest.in_w, nest.groups * nest.k)
    weights = codes(w_spec, nest.groups, nest.kernel_h, nest.kernel_w, nest.k, nest.n)
    offsets = int(codes(x_spec)), int(codes(w_spec)), int(codes(x_spec))
    zero, low_code, high_code = (0, -(2**31), 2**31 - 1) if kind == "none" else (3, -128, 127)
    bias = rng.integers(-20_000, 20_000, outputs)
    scales = np.exp(rng.uniform(-10, 0.5, outputs))
    if kind == "power_of_two":
        scales = np.exp2(np.rint(np.log2(scales)))
    if kind == "none":
        scales[:] = 1
    pairs = np.array([REQUANTIZERS[kind].convert(float(s)) for s in scales], np.int64)
    channels = Channels(bias, pairs[:, 0].copy(), pairs[:, 1].copy(), np.zeros((0, 0), np.int64))
    numerics = Numerics(
        offsets[0], offsets[1], offsets[2], bits, False, 0, 4, KINDS[kind], KINDS[kind], outputs,
        zero, low_code, high_code, bits, 1,
    )  # fmt: skip
    stage = Requantize(kind, "m", "s", zero, low_code, high_code)
    command = Matmul(
        "product", "conv_2d", "x", "w", "b", "y", nest, "weight_stationary", *offsets, w_spec.bits,
        0, stage, LaneWork(1, 1, 1),
    )  # fmt: skip
    exact = sums_written_out(nest, x, weights, offsets, bias)
    never = bool(np.abs(exact).max() < 1 << (bits - 1))
    portable = np.zeros(exact.shape, np.int32 if kind == "none" else np.int8)
    counts = new_counts()
    sums = matmul.sums_of(command, weights, np.int64)
    matmul.run(sums, command, channels, numerics, x, portable, counts)
    assert _on_every_unit(
        command, weights, channels, numerics, never, x, x_spec, portable, counts
    )  # fmt: skip
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    wrapped = (exact - low) % (1 << bits) + low
    over = np.flatnonzero((exact < low) | (exact > high))
    assert (counts[OVERFLOWS], counts[FIRST]) == (over.size, over[0] if over.size else NEVER)
    assert counts[EXCESS] == max(0, exact.max() - high, low - exact.min())
    apply = REQUANTIZERS[kind].apply
    for index in np.ndindex(*exact.shape):
        c = index[-1]
        code = zero + int(apply(np.int64(wrapped[index]), *(np.int64(v) for v in pairs[c])))
        assert portable[index] == min(max(code, low_code), high_code)
        if index[1] > 1:
            break
