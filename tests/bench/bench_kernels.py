"""How fast the datapath computes: products of matrices, and whole networks, next to the runtimes.

    python tests/bench/bench_kernels.py [--repeats 15] [--samples 32] [MODEL ...]

One thread, CPU time, medians, and what is compared in the same run by turns. Prints ratios; asserts
nothing but that results are equal.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from simulator.datapath import amx, llvm, llvm_products, packed, packing, units
from simulator.datapath.counts import new_counts
from simulator.datapath.machine import Machine
from simulator.datapath.matmul import Channels, Numerics
from simulator.fixedpoint.requantize import KINDS
from simulator.hwconfig import load_device, with_array
from simulator.npu import compile, load_model
from simulator.program.commands import LaneWork, Matmul, Requantize
from simulator.program.nest import untiled
from simulator.tensor import TensorSpec

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"
MODELS = [
    DATA / "mlperf_tiny/pretrainedResnet_quant.tflite", DATA / "mlperf_tiny/kws_ref_model.tflite",
    DATA / "mlperf_tiny/vww_96_int8.tflite", DATA / "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
]  # fmt: skip
SIZES = (512, 1024)
_TURN_S = 0.02
_LOW, _HIGH = -(2**31), 2**31 - 1


def medians(repeats: int, **parts: Callable[[], Any]) -> dict[str, float]:
    """Seconds of CPU time of each of ``parts``, run by turns, each for some milliseconds."""
    spent: dict[str, list[float]] = {name: [] for name in parts}
    times: dict[str, int] = {}
    for name, part in parts.items():
        part()
        start = time.process_time()
        part()
        times[name] = 1 + int(_TURN_S / max(time.process_time() - start, 1e-6))
    for _ in range(repeats):
        for name, part in parts.items():
            start = time.process_time()
            for _ in range(times[name]):
                part()
            spent[name].append((time.process_time() - start) / times[name])
    return {name: statistics.median(values) for name, values in spent.items()}


# --- products of matrices ------------------------------------------------------------------------


class _Dots(llvm_products._Products):
    """Dot products of registers, nothing read or written: ``vectors`` of them, again and again."""

    def __init__(self, builder: Any, size: int, vectors: int) -> None:
        super().__init__(builder, size)
        self.vectors = vectors

    def write(self, arguments: Any) -> None:
        b, (rounds, target, *_) = self.b, arguments
        operand = self.all_of(b.trunc(rounds, llvm.SUM))
        entry, (loop, done) = b.block, self.blocks("loop", "done")
        b.branch(loop)
        b.position_at_end(loop)
        count = self.phi(llvm.INDEX, llvm.number(0), entry)
        sums = [self.phi(llvm.VECTOR, operand, entry) for _ in range(self.vectors)]
        # Of words, the product must not be one that all rounds share.
        made = [self.dot(value, operand if self.size == 1 else value, operand) for value in sums]
        following = b.add(count, llvm.number(1))
        self.loop(count, following, sums, made, loop)
        b.cbranch(b.icmp_signed("<", following, rounds), loop, done)
        b.position_at_end(done)
        self.stored(made, target)


_IN_REGISTERS = max(rows * vectors for vectors, rows in llvm_products.WORD_ROWS.items())
_byte_dots = llvm.loop(lambda b: _Dots(b, 1, 24), *llvm_products.BYTES_NEED)
_word_dots = llvm.loop(lambda b: _Dots(b, 2, _IN_REGISTERS), *llvm_products.WORDS_NEED)


@njit
def _dot_peak(size: int, rounds: int, room: np.ndarray) -> None:
    if size == packing.BYTES:
        _byte_dots(rounds, room.ctypes.data, 0, 0, 0, 0, 0)
    else:
        _word_dots(rounds, room.ctypes.data, 0, 0, 0, 0, 0)


@njit
def _tile_peak(depth: int, rows: np.ndarray, block: np.ndarray, tiles: np.ndarray) -> None:
    """One block of sums again and again from tiles in the first cache."""
    amx.configure(tiles.ctypes.data)
    address, sums = rows.ctypes.data, block.ctypes.data
    for _ in range(depth):
        amx.start_32(address, 8192, address, 128, 8, sums, 128, address)
    amx.release()


def peak(unit: str) -> float:
    """Multiply-accumulates per second of CPU time that the unit can do."""
    if unit == units.AMX:
        rows, tiles, turns = packing.aligned(32 * 512), amx.configuration(), 1 << 12
        block = packing.aligned(4 * 32 * 32).view(np.int32).reshape(32, 32)
        spent = medians(9, tile=lambda: _tile_peak(turns, rows, block, tiles))["tile"]
        return 32 * 32 * 512 * turns / spent
    size = packing.WORDS if unit == units.AVX2 else packing.BYTES
    vectors, rounds = 24 if size == packing.BYTES else _IN_REGISTERS, 1 << 18
    room = packing.aligned(4 * llvm.LANES * vectors)
    spent = medians(9, dot=lambda: _dot_peak(size, rounds, room))["dot"]
    return vectors * llvm.LANES * llvm_products.STEP // size * rounds / spent


def product(
    size: int, weights: np.ndarray, signed: bool
) -> Callable[[np.ndarray, np.ndarray], None]:
    """x (1, 1, size, size) by packed weights, int32 sums into y."""
    nest = untiled(out=(1, size), n=size, k=size, ifmap=(1, size))
    nothing, none = np.zeros(size, np.int64), KINDS["none"]
    channels = Channels(nothing, nothing + 1, nothing, np.zeros((0, 0), np.int64))
    numerics = Numerics(0, 0, 0, 32, False, 0, 4, none, none, size, 0, _LOW, _HIGH, 32, 1)
    stage = Requantize("none", "m", "s", 0, _LOW, _HIGH)
    command = Matmul(
        "gemm", "fully_connected", "x", "w", "b", "y", nest, "weight_stationary", 0, 0, 0, 8, 0, stage,
        LaneWork(1, 1, 1),
    )  # fmt: skip
    shaped = weights.reshape(1, 1, 1, size, size)
    operand = packing.operand_size(
        command, shaped, TensorSpec((), "i8" if signed else "u8"), np.int32
    )
    ready = packing.pack(command, shaped, channels, operand, signed)
    counts = new_counts()
    return lambda x, y: packed.run(ready, command, channels, numerics, True, x, y, counts)


def runtime_product(weights: np.ndarray, kind: type) -> Callable[[np.ndarray], np.ndarray]:
    """ONNX Runtime's MatMulInteger on one thread."""
    import onnx
    import onnxruntime

    size, helper = weights.shape[0], onnx.helper
    code = {np.uint8: onnx.TensorProto.UINT8, np.int8: onnx.TensorProto.INT8}[kind]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "gemm",
        [helper.make_tensor_value_info("x", code, [size, size])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [size, size])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: np.asarray(session.run(None, {"x": x})[0])


def matrices(repeats: int) -> None:
    unit = units.chosen_unit()
    most = peak(unit) if unit != units.PORTABLE else float("nan")
    print(f"unit {unit}: at most {most / 1e9:.0f} GMAC/s")
    rng = np.random.default_rng(0)
    for size in SIZES:
        weights = rng.integers(-64, 64, (size, size)).astype(np.int8)
        against: dict[str, float] = {}
        for kind in (np.uint8, np.int8):
            x = rng.integers(0, 127, (1, 1, size, size)).astype(kind)
            y = np.zeros((1, 1, size, size), np.int32)
            ours, theirs = product(size, weights, kind is np.int8), runtime_product(weights, kind)
            ours(x, y)
            assert np.array_equal(y[0, 0], theirs(x[0, 0]))
            spent = medians(repeats, ours=lambda: ours(x, y), theirs=lambda: theirs(x[0, 0]))  # noqa: B023
            rate, other = (size**3 / spent[name] / 1e9 for name in ("ours", "theirs"))
            against[kind.__name__] = other
            print(
                f"  {size}^3 {kind.__name__} x int8: {rate:.0f} GMAC/s, {100e9 * rate / most:.0f} % of the "
                f"most; ONNX Runtime {other:.0f}: {rate / other:.2f} times as fast, "
                f"{rate / against['uint8']:.2f} times its uint8"
            )


# --- networks ------------------------------------------------------------------------------------


def runtime_model(path: Path, kernels: str) -> Callable[[np.ndarray], np.ndarray]:
    """LiteRT on one thread, one sample after the other."""
    from ai_edge_litert import interpreter

    kind = interpreter.OpResolverType[kernels]
    runtime = interpreter.Interpreter(str(path), num_threads=1, experimental_op_resolver_type=kind)
    runtime.allocate_tensors()
    (source,), target = runtime.get_input_details(), runtime.get_output_details()[0]

    def run(x: np.ndarray) -> np.ndarray:
        found = []
        for row in x:
            runtime.set_tensor(source["index"], row.reshape(source["shape"]))
            runtime.invoke()
            found.append(runtime.get_tensor(target["index"]))
        return np.stack(found)

    return run


def networks(paths: list[Path], repeats: int, samples: int) -> None:
    for path in paths:
        program = compile(load_model(path), load_device("edge-stick"))
        machine, name = Machine(program), program.inputs[0]
        narrow = with_array(load_device("edge-stick"), accumulator_bits=16, overflow="saturate")
        ordered = Machine(compile(load_model(path), narrow))
        spec = program.placements[name].spec
        x = np.random.default_rng(0).integers(
            spec.minimum, spec.maximum, (samples, *spec.shape), spec.container, endpoint=True
        )
        reference, fast = (runtime_model(path, k) for k in ("BUILTIN_REF", "BUILTIN"))
        few = x[: max(1, samples // 8)]

        def ours(x: np.ndarray = x, machine: Machine = machine, name: str = name) -> np.ndarray:
            (found,) = machine.run({name: x}).outputs.values()
            return found

        def in_order(machine: Machine = ordered, name: str = name, x: np.ndarray = few) -> None:
            machine.run({name: x})

        assert np.array_equal(ours(few).reshape(-1), reference(few).reshape(-1))
        spent = medians(
            repeats, ours=ours, reference=lambda: reference(few), xnnpack=lambda: fast(x),  # noqa: B023
            in_order=in_order,
        )  # fmt: skip
        on_few = ("reference", "in_order")
        each = {n: 1e3 * s / (few if n in on_few else x).shape[0] for n, s in spent.items()}
        print(
            f"  {path.stem}: {each['ours']:.3f} ms an image; LiteRT's reference kernels "
            f"{each['reference']:.2f}: {each['reference'] / each['ours']:.0f} times as fast; XNNPACK "
            f"{each['xnnpack']:.3f}: {each['xnnpack'] / each['ours']:.2f} times as fast; with sums that "
            f"saturate at 16 bits, in order: {each['in_order']:.2f} ms, "
            f"{each['in_order'] / each['ours']:.1f} times as long"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the datapath computes.")
    parser.add_argument("models", nargs="*", type=Path, default=MODELS)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--samples", type=int, default=32, help="images at once")
    options = parser.parse_args()
    matrices(options.repeats)
    networks([p for p in options.models if p.exists()], options.repeats, options.samples)


if __name__ == "__main__":
    main()
