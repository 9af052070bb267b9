"""Operators that move elements: what they cost, worked cases, what they refuse, and the float32 rescale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import device_dict, small_device
from random_layers import LAYERS
from tflite_builder import Op, Tensor, build_model

from simulator.compiler import compile_graph
from simulator.datapath.machine import Machine
from simulator.energy.counts import count_program
from simulator.errors import DataError, ModelError, NpusimError
from simulator.hwconfig import device_from_dict
from simulator.importers.tflite import read_tflite
from simulator.ops import operator, operator_names
from simulator.ops._movement import progressions
from simulator.program.commands import Host, Move, Vector
from simulator.program.program import Program
from simulator.program.traffic import copy_cycles, read_elements

MOVING = [n for n in operator_names() if "DATA" in vars(operator(n))]


def integers(name: str, values: Any, dtype: str = "i32") -> Tensor:
    data = np.array(values, {"i32": np.int32, "i64": np.int64}[dtype])
    return Tensor(name, data.shape, dtype, data=data)


def model(
    kind: str, shape: tuple[int, ...], out: tuple[int, ...], operands: list[Tensor] | None = None,
    dtype: str = "i8", **options: Any,
) -> bytes:  # fmt: skip
    """One operator from x to y."""
    params = (0.5, 3) if dtype in ("i8", "u8") else (None, 0)
    operands = operands or []
    tensors = [Tensor("x", shape, dtype, *params), *operands, Tensor("y", out, dtype, *params)]
    op = Op(kind, ["x", *(o.name for o in operands)], "y", options)
    return build_model(tensors, [op], ["x"], ["y"])


def program_of(content: bytes) -> Program:
    return compile_graph(read_tflite(content, "movement"), small_device())


def only_move(content: bytes) -> tuple[Program, Move]:
    program = program_of(content)
    (command,) = program.commands
    assert isinstance(command, Move)
    return program, command


def cycles(content: bytes) -> int:
    program, command = only_move(content)
    specs = {name: place.spec for name, place in program.placements.items()}
    return copy_cycles(command, specs, program.device)


def run(content: bytes, **inputs: np.ndarray) -> np.ndarray:
    found = Machine(program_of(content)).run({n: v[np.newaxis] for n, v in inputs.items()})
    expected = LiteRTRunner(content).run({n: v[np.newaxis] for n, v in inputs.items()})
    np.testing.assert_array_equal(found.outputs["y"], expected["y"])
    return found.outputs["y"][0]


# The small device's DMA moves 8 bytes per cycle.
COSTS = {
    "a transpose of bytes costs a beat per element": (
        model("TRANSPOSE", (6, 10), (10, 6), [integers("p", [1, 0])]), 60,
    ),
    "a transpose that keeps rows whole costs their beats": (
        model("TRANSPOSE", (3, 4, 20), (4, 3, 20), [integers("p", [1, 0, 2])]), 12 * 3,
    ),
    "a tensor in another order of dimensions of 1 is one run": (
        model("TRANSPOSE", (1, 4, 20), (4, 1, 20), [integers("p", [1, 0, 2])]), 10,
    ),
    "a slice of whole rows is one run": (
        model("SLICE", (9, 16), (4, 16), [integers("b", [2, 0]), integers("s", [4, 16])]), 4 * 2,
    ),
    "a slice of columns costs the beats of its rows": (
        model("SLICE", (9, 16), (9, 3), [integers("b", [0, 5]), integers("s", [9, 3])]), 9,
    ),
    "backwards goes element by element": (
        model("STRIDED_SLICE", (30,), (30,), [integers("b", [-1]), integers("e", [-31]),
                                              integers("s", [-1])]), 30,
    ),
    "a tile repeats rows": (
        model("TILE", (5, 16), (5, 48), [integers("m", [1, 3])]), 15 * 2,
    ),
    "pixels to channels move in runs of a row of a block": (
        model("SPACE_TO_DEPTH", (1, 4, 6, 8), (1, 2, 3, 32), BlockSize=2), 2 * 3 * 2 * 2,
    ),
    "neighbouring indices make one piece": (
        model("GATHER", (9, 16), (6, 16), [integers("i", [2, 3, 4, 7, 0, 1])]), 6 + 2 + 4,
    ),
    "wider elements cost more beats": (
        model("TRANSPOSE", (3, 4, 20), (4, 3, 20), [integers("p", [1, 0, 2])], "i64"), 12 * 20,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COSTS)
def test_copies_cost_their_runs(case: str) -> None:
    content, expected = COSTS[case]
    assert cycles(content) == expected


def test_a_concatenation_along_the_last_axis_costs_a_beat_per_run() -> None:
    tensors = [
        Tensor("x", (7, 3), "i8", 0.5),
        Tensor("z", (7, 5), "i8", 0.5),
        Tensor("y", (7, 8), "i8", 0.5),
    ]
    op = Op("CONCATENATION", ["x", "z"], "y", {"Axis": 1})
    assert cycles(build_model(tensors, [op], ["x", "z"], ["y"])) == 7 + 7
    stacked = [
        Tensor("x", (3, 8), "i8", 0.5),
        Tensor("z", (4, 8), "i8", 0.5),
        Tensor("y", (7, 8), "i8", 0.5),
    ]
    op = Op("CONCATENATION", ["x", "z"], "y", {"Axis": 0})
    assert cycles(build_model(stacked, [op], ["x", "z"], ["y"])) == 3 + 4


def test_a_slice_reads_only_what_it_takes() -> None:
    content = model("SLICE", (9, 16), (9, 3), [integers("b", [0, 5]), integers("s", [9, 3])])
    program, command = only_move(content)
    assert read_elements(command, from_dram=True) == 27
    (counts,) = count_program(program, program.device.operating_point())
    assert (counts.dram_read_bytes, counts.dram_write_bytes) == (27, 27)


def test_a_gather_on_the_host_reads_only_what_it_takes() -> None:
    tensors = [
        Tensor("x", (1000, 8), "i8", 0.5), Tensor("i", (2,), "i32"), Tensor("y", (2, 8), "i8", 0.5)
    ]  # fmt: skip
    program = program_of(build_model(tensors, [Op("GATHER", ["x", "i"], "y")], ["x", "i"], ["y"]))
    (command,), (counts,) = (
        program.commands,
        count_program(program, program.device.operating_point()),
    )
    assert isinstance(command, Host)
    assert command.operations == 16  # a copy for each element it makes
    assert counts.dram_read_bytes == 16 + 2 * 4
    assert counts.dram_write_bytes == 16


@pytest.mark.parametrize("kind", ["RESHAPE", "SQUEEZE", "EXPAND_DIMS"])
def test_another_shape_costs_nothing_inside_a_graph(kind: str) -> None:
    squeezed = kind == "SQUEEZE"
    middle = (4, 6) if squeezed else (1, 1, 4, 6)
    tensors = [
        Tensor("x", (1, 4, 6), "i8", 0.5), Tensor("a", (1, 4, 6), "i8", 0.5),
        Tensor("m", middle, "i8", 0.5),
        integers("axis", 0), Tensor("y", middle, "i8", 0.5),
    ]  # fmt: skip
    inputs = ["a", "axis"] if kind == "EXPAND_DIMS" else ["a"]
    options = {"RESHAPE": {"NewShape": list(middle)}, "SQUEEZE": {"SqueezeDims": [0]}}.get(kind, {})
    ops = [Op("RELU", ["x"], "a"), Op(kind, inputs, "m", options), Op("RELU", ["m"], "y")]
    program = program_of(build_model(tensors, ops, ["x"], ["y"]))
    assert [c.operator for c in program.commands] == ["relu", "relu"]


@pytest.mark.golden
def test_progressions() -> None:
    assert progressions([4, 5, 6, 9, 7, 5, 3]) == [(0, 4, 1, 3), (3, 9, -2, 4)]
    assert progressions([0, 5, 6, 7]) == [(0, 0, 1, 1), (1, 5, 1, 3)]
    assert progressions([2, 2, 2]) == [(0, 2, 0, 3)]
    assert progressions([8]) == [(0, 8, 1, 1)]
    assert progressions([3, 9]) == [(0, 3, 6, 2)]


@pytest.mark.golden
def test_worked_cases() -> None:
    """By hand; ``run`` holds each against LiteRT too."""
    row = np.arange(6, dtype=np.int8)
    subscript = [integers(n, [v]) for n, v in (("b", -2), ("e", 0), ("s", -2))]
    assert run(model("STRIDED_SLICE", (6,), (2,), subscript), x=row).tolist() == [4, 2]
    whole = [integers(n, [v]) for n, v in (("b", 3), ("e", 3), ("s", -2))]
    content = model("STRIDED_SLICE", (6,), (3,), whole, BeginMask=1, EndMask=1)
    assert run(content, x=row).tolist() == [5, 3, 1]
    mirrored = [integers("a", [[2, 3]])]
    content = model("MIRROR_PAD", (4,), (9,), mirrored, Mode=0)
    assert run(content, x=row[:4]).tolist() == [2, 1, 0, 1, 2, 3, 2, 1, 0]
    content = model("MIRROR_PAD", (4,), (9,), mirrored, Mode=1)
    assert run(content, x=row[:4]).tolist() == [1, 0, 0, 1, 2, 3, 3, 2, 1]
    picture = np.arange(8, dtype=np.int8).reshape(1, 2, 4, 1)
    blocks = run(model("SPACE_TO_DEPTH", (1, 2, 4, 1), (1, 1, 2, 4), BlockSize=2), x=picture)
    assert blocks.reshape(2, 4).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    operands = [integers("k", [2, 2]), integers("p", [[0, 0], [2, 0]])]
    batches = run(model("SPACE_TO_BATCH_ND", (1, 2, 4, 1), (4, 1, 3, 1), operands), x=picture)
    assert batches.reshape(4, 3).tolist() == [
        [3, 0, 2],
        [3, 1, 3],
        [3, 4, 6],
        [3, 5, 7],
    ]  # 3 is zero
    content = model("PADV2", (2,), (4,), [integers("a", [[1, 1]]), Tensor(
        "v", (1,), "i8", 0.5, 3, np.array([-7], np.int8))])  # fmt: skip
    assert run(content, x=row[:2]).tolist() == [-7, 0, 1, -7]


@pytest.mark.golden
def test_casts_at_the_ends() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 127.99, 128, -128.99, -129, 3e9, -0.9], np.float32)
    tensors = [Tensor("x", x.shape, "f32"), Tensor("y", x.shape, "i8")]
    content = build_model(tensors, [Op("CAST", ["x"], "y")], ["x"], ["y"])
    assert run(content, x=x).tolist() == [127, 127, -128, 127, 127, -128, -128, 127, 0]
    tensors[1] = Tensor("y", x.shape, "i64")
    content = build_model(tensors, [Op("CAST", ["x"], "y")], ["x"], ["y"])
    ends = [2**63 - 1, 2**63 - 1, -(2**63)]
    assert run(content, x=x).tolist() == [*ends, 127, 128, -128, -129, 3 * 10**9, 0]


@pytest.mark.parametrize("kind", ["GATHER", "GATHER_ND"])
@pytest.mark.parametrize("index", [-1, 4])
def test_an_index_outside_is_an_error(kind: str, index: int) -> None:
    tensors = [
        Tensor("x", (4, 2), "i8", 0.5), Tensor("i", (1, 1), "i32"),
        Tensor("y", (1, 1, 2) if kind == "GATHER" else (1, 2), "i8", 0.5),
    ]  # fmt: skip
    content = build_model(tensors, [Op(kind, ["x", "i"], "y")], ["x", "i"], ["y"])
    x, i = np.zeros((1, 4, 2), np.int8), np.full((1, 1, 1), index, np.int32)
    with pytest.raises(DataError, match=rf"index {index}; allowed: 0\.\.3"):
        Machine(program_of(content)).run({"x": x, "i": i})
    tensors[1] = integers("i", [[index]])
    with pytest.raises(ModelError, match="lie within"):
        read_tflite(build_model(tensors, [Op(kind, ["x", "i"], "y")], ["x"], ["y"]), "outside")


def _codes(scale: np.float32, bias: np.float32, zero_point: int, fused: bool) -> np.ndarray:
    """The rescale of all codes; ``fused``: product and sum rounded once."""
    q = np.arange(256, dtype=np.float32)
    exact = q.astype(np.float64) * float(scale) + float(bias)
    value = exact.astype(np.float32) if fused else q * scale + bias
    rounded = np.sign(value) * np.floor(np.abs(value).astype(np.float64) + 0.5)
    return np.clip(rounded + zero_point, 0, 255).astype(np.int64)


def _telling(rng: np.random.Generator, s_out: np.float32, z_out: int) -> tuple[np.float32, int]:
    """A scale and zero point whose codes change with the scale's last bit, or where the quotient is taken
    at once, and would change were product and sum fused."""
    inverse = np.float32(1) / s_out
    while True:
        s_in = np.float32(
            s_out * rng.integers(1, 64) / rng.integers(1, 64) * rng.choice([0.5, 0.25, 1.5])
        )
        zero = int(rng.integers(256))
        scale = s_in * inverse
        known = _codes(scale, np.float32(-zero) * scale, z_out, False)
        others = [
            np.nextafter(scale, np.float32(2)),
            np.nextafter(scale, np.float32(0)),
            s_in / s_out,
        ]
        apart = [
            not np.array_equal(known, _codes(o, np.float32(-zero) * o, z_out, False))
            for o in others
        ]
        fused = not np.array_equal(known, _codes(scale, np.float32(-zero) * scale, z_out, True))
        if sum(apart) >= 2 and (fused or rng.integers(8) == 0):
            return s_in, zero


@pytest.mark.parametrize("seed", range(6))
def test_a_rescaling_concatenation_where_one_ulp_tells(seed: int) -> None:
    rng = np.random.default_rng(seed)
    s_out, z_out = np.float32(rng.uniform(0.01, 0.1)), int(rng.integers(256))
    tensors = []
    for i in range(24):
        s_in, zero = _telling(rng, s_out, z_out)
        tensors.append(Tensor(f"x{i}", (256,), "u8", s_in, zero))
    names = [t.name for t in tensors]
    y = Tensor("y", (256 * len(tensors),), "u8", s_out, z_out)
    content = build_model(
        [*tensors, y], [Op("CONCATENATION", names, "y", {"Axis": 0})], names, ["y"]
    )
    run(content, **{name: np.arange(256, dtype=np.uint8) for name in names})
    commands = program_of(content).commands
    assert sum(isinstance(c, Vector) for c in commands) == len(tensors)


REFUSED = {
    "an order that names a dimension twice": (
        model("TRANSPOSE", (2, 3), (2, 2), [integers("p", [0, 0])]), "every dimension once",
    ),
    "an order of 64 bits": (
        model("TRANSPOSE", (2, 3), (3, 2), [integers("p", [1, 0], "i64")]), "a constant \\(i32\\)",
    ),
    "a slice past the end": (
        model("SLICE", (4,), (3,), [integers("b", [2]), integers("s", [3])]), "lie within the input",
    ),
    "a stride of 0": (
        model("STRIDED_SLICE", (4,), (1,),
              [integers(n, [v]) for n, v in zip("bes", (0, 1, 0), strict=True)]), "not 0",
    ),
    "an index past the end": (
        model("STRIDED_SLICE", (4,), (), [integers(n, [v]) for n, v in zip("bes", (4, 5, 1), strict=True)],
              ShrinkAxisMask=1), "valid index",
    ),
    "two ellipses": (
        model("STRIDED_SLICE", (4, 4), (4, 4),
              [integers(n, [v, v]) for n, v in zip("bes", (0, 1, 1), strict=True)], EllipsisMask=3),
        "at most one ellipsis",
    ),
    "a mirror as wide as the row": (
        model("MIRROR_PAD", (3,), (6,), [integers("a", [[3, 0]])], Mode=0), "REFLECT: less than it",
    ),
    "odd blocks": (
        model("SPACE_TO_DEPTH", (1, 3, 4, 1), (1, 1, 2, 4), BlockSize=2), "multiples of the block",
    ),
    "crops of all": (
        model("BATCH_TO_SPACE_ND", (2, 1, 1), (1, 1, 1), [integers("k", [2]), integers("c", [[1, 1]])]),
        "leave something",
    ),
    "a pad value of another scale": (
        model("PADV2", (2,), (4,), [integers("a", [[1, 1]]), Tensor(
            "v", (1,), "i8", 0.25, 3, np.array([1], np.int8))]), "quantization",
    ),
    "a broadcast that does not fit": (
        model("BROADCAST_TO", (2,), (3,), [integers("s", [3])]), "ends in the input's",
    ),
    "a fused activation": (
        model("CONCATENATION", (2,), (2,), FusedActivationFunction=1), "activation is NONE",
    ),
    "a shape of 64 bits": (
        model("RESHAPE", (2,), (2, 1), [integers("s", [2, 1], "i64")]), "a constant \\(i32\\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_rule(case: str) -> None:
    content, words = REFUSED[case]
    with pytest.raises(ModelError, match=words):
        read_tflite(content, "refused")


@pytest.mark.parametrize("name", MOVING)
def test_damaged_files_end_in_an_error_of_ours(name: str) -> None:
    """Flipped bits anywhere: masks, amounts, indices, shapes."""
    rng, device = np.random.default_rng(0), device_from_dict(device_dict(), "test")
    refused = 0
    for _ in range(12):
        layer = LAYERS[name](rng)
        for _ in range(8):
            content = bytearray(layer.content)
            content[rng.integers(8, len(content))] ^= 1 << rng.integers(8)
            try:
                graph = read_tflite(bytes(content), "damaged")
                program = compile_graph(graph, device)
                zeros = {n: graph.spec(n) for n in graph.inputs}
                Machine(program).run(
                    {n: np.zeros((1, *s.shape), s.container) for n, s in zeros.items()}
                )
            except NpusimError:
                refused += 1
    assert refused > 5
