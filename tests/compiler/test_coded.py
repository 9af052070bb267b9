"""Weights stored as codes: the same bits on every kind of array, and what each kind makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_networks import samples, write_network
from real_models import SHARED

from simulator.dataflows import fold_rows, grid_of
from simulator.energy.area import area_mm2
from simulator.energy.prices import prices_of
from simulator.errors import DeviceError
from simulator.graph import Graph
from simulator.hwconfig import DATAFLOWS, Device, load_device, with_array
from simulator.npu import compile, exact_device, load_model, simulate
from simulator.ops._coded import most_terms
from simulator.program.commands import Host, Matmul
from simulator.program.program import Program
from simulator.program.text import parse_program, print_program
from simulator.quantization.scheme import Scheme
from simulator.quantizing import load_float_model, quantize_graph
from simulator.workload import Dataset

# What an array has for codes, and the schemes that make use of it.
ARRAYS: dict[str, dict[str, object]] = {
    "plain": {},
    "table": {"codebook_entries": 16},
    "vectors": {"codebook_entries": 256, "codebook_vector": 4},
    "factors": {"group_factor_bits": 4},
    "shifts": {"multiplier": "shift", "weight_bits": 4},
    "two shifts": {"multiplier": "shift", "weight_bits": 4, "shift_terms": 2},
    "fused": {"precision_scaling": "fused"},
}
SCHEMES = {
    "symmetric": Scheme("symmetric", 4), "kmeans": Scheme("kmeans", 4), "product": Scheme("product", 8),
    "groups": Scheme("groups", 4, group=8), "power_of_two": Scheme("power_of_two", 4),
    "additive_power_of_two": Scheme("additive_power_of_two", 4), "binary": Scheme("binary", 1),
    "ternary": Scheme("ternary", 2), "eight": Scheme("symmetric", 8),
}  # fmt: skip


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graph]:
    net = load_float_model(write_network(tmp_path_factory.mktemp("net") / "net.onnx"))
    x = samples(24)
    return {
        name: quantize_graph(net, x, scheme, "onnxruntime").graph
        for name, scheme in SCHEMES.items()
    }


def _device(array: str, dataflow: str = "weight_stationary") -> Device:
    return with_array(
        load_device("edge-stick"), dataflow=dataflow, rows=16, cols=16, **ARRAYS[array]
    )


def _products(program: Program) -> dict[str, Matmul]:
    return {c.ofmap: c for c in program.commands if isinstance(c, Matmul)}


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("array", ARRAYS)
def test_every_array_makes_the_same_bits(
    graphs: dict[str, Graph], array: str, dataflow: str
) -> None:
    x = samples(6, 9)
    data = Dataset("x", x, np.zeros(6, np.int64))
    for name, graph in graphs.items():
        ours = simulate(graph, _device(array, dataflow), data).accuracy
        exact = simulate(graph, exact_device(), data).accuracy
        assert ours is not None
        assert exact is not None
        assert (ours.predictions == exact.predictions).all(), name


def test_bits_that_are_stored_and_bits_that_are_multiplied(graphs: dict[str, Graph]) -> None:
    def of(scheme: str, array: str) -> Matmul:
        return _products(compile(graphs[scheme], _device(array)))["pointwise3"]

    assert of("symmetric", "plain").weight_bits == 4
    assert of("eight", "plain").weight_bits == 8
    assert of("binary", "plain").weight_bits == 1
    assert of("ternary", "plain").weight_bits == 2
    # 16 levels of 8 bits: through a table codes of 4 bits, without one the levels.
    assert (of("kmeans", "plain").weight_bits, of("kmeans", "plain").stored_millibits) == (8, 0)
    coded = of("kmeans", "table")
    assert (coded.weight_bits, coded.table_entries) == (8, 16)
    assert coded.stored_millibits == 1000 * (4 * 256 + 16 * 8) // 256
    # A table for vectors of 4 holds longer rows than one for single weights.
    assert of("product", "table").table_entries == 0
    wide = of("product", "vectors")
    assert wide.table_entries > 16
    assert wide.stored_millibits < 1000 * (2 * 256 + wide.table_entries * 32) // 256 + 2
    # 16 channels are two groups of 8, each with a factor of at most 4 bits.
    assert of("groups", "plain").group == 0
    assert of("groups", "plain").weight_bits >= 7
    grouped = of("groups", "factors")
    assert (grouped.weight_bits, grouped.group) == (4, 8)
    assert grouped.stored_millibits == 1000 * (4 * 8 + grouped.factor_bits) // 8
    # Depthwise layers have no neighbours to share a factor with.
    assert _products(compile(graphs["groups"], _device("factors")))["relu2"].group == 0


def test_what_pes_that_shift_cannot_multiply_runs_on_the_host(graphs: dict[str, Graph]) -> None:
    for scheme, array, on_host in (
        ("power_of_two", "shifts", False), ("additive_power_of_two", "shifts", True),
        ("additive_power_of_two", "two shifts", False), ("ternary", "shifts", False),
        ("symmetric", "two shifts", False), ("eight", "two shifts", True),
        ("kmeans", "two shifts", True), ("binary", "shifts", False),
    ):  # fmt: skip
        program = compile(graphs[scheme], _device(array))
        hosts = [
            c for c in program.commands if isinstance(c, Host) and isinstance(c.command, Matmul)
        ]
        assert bool(hosts) == on_host, (scheme, array)
        reason = 'where PEs shift (array.multiplier = "shift")'
        assert all(reason in h.reason or "these widths" in h.reason for h in hosts)


def test_the_most_terms_by_definition() -> None:
    """Fewest signed powers of two, by trying all sums of one, then two, then three."""
    powers = [s << k for k in range(9) for s in (1, -1)]
    sums = {0: {0}}
    for count in range(1, 5):
        sums[count] = {a + p for a in sums[count - 1] for p in powers}
    for level in range(-128, 128):
        fewest = next(c for c in sums if level in sums[c])
        assert most_terms(np.array([level])) == fewest
    assert most_terms(np.array([1, 3, 0])) == 2


def test_folds_of_groups_are_parts_of_one_size() -> None:
    for rows in range(1, 40):
        for group in range(1, 70):
            used = fold_rows(rows, group, 1)
            assert used <= rows
            assert group % used == 0
            assert not any(group % r == 0 for r in range(used + 1, min(rows, group) + 1))
    assert fold_rows(16, 32, 4) == 8
    device = _device("factors")
    assert grid_of(device, 8, 4, group=8).rows == 8
    assert grid_of(device, 8, 4, group=32).rows == 16
    assert grid_of(device, 8, 4).rows == 16


def test_a_group_costs_as_an_array_of_so_few_rows(graphs: dict[str, Graph]) -> None:
    """But for the multiplication of every sum by its factor."""
    short = with_array(_device("plain"), rows=8)
    with_factors, without = (
        simulate(graphs["groups"], d).layers for d in (_device("factors"), short)
    )
    one = next(x for x in with_factors if x.name == "pointwise3")
    other = next(x for x in without if x.name == "pointwise3")
    assert one.macs == other.macs
    # A column of 8 rows hands its sums on 8 cycles earlier than one of 16.
    assert abs(one.cycles - other.cycles) <= 24
    assert one.energy_by_component_pj["mac"] > other.energy_by_component_pj["mac"]


def test_codes_cost_less_to_move_and_tables_cost_energy_and_area(graphs: dict[str, Graph]) -> None:
    plain, table = (simulate(graphs["kmeans"], _device(a)) for a in ("plain", "table"))
    assert table.totals.dram_bytes <= plain.totals.dram_bytes
    assert table.totals.resident_weight_bytes <= plain.totals.resident_weight_bytes
    assert table.totals.scratchpad_bytes < plain.totals.scratchpad_bytes
    parts = [r.energy_by_component_pj for r in (plain, table)]
    assert parts[1]["register"] > parts[0]["register"]
    assert parts[1]["mac"] == parts[0]["mac"]
    assert table.totals.area_mm2 > plain.totals.area_mm2
    areas = {a: area_mm2(prices_of(_device(a)).table, _device(a)).array for a in ARRAYS}
    assert areas["shifts"] < areas["plain"] < areas["factors"]
    assert areas["shifts"] < areas["two shifts"]
    assert areas["table"] < areas["vectors"]


def test_shifts_take_less_energy_than_products(graphs: dict[str, Graph]) -> None:
    plain, one, two = (
        simulate(graphs["power_of_two"], _device(a)).energy_by_component_pj["mac"]
        for a in ("plain", "shifts", "two shifts")
    )
    assert one < plain
    assert one < two


def test_programs_of_coded_weights_print_and_are_read_again(graphs: dict[str, Graph]) -> None:
    for scheme, array in (("kmeans", "table"), ("groups", "factors"), ("power_of_two", "shifts")):
        program = compile(graphs[scheme], _device(array))
        text = print_program(program)
        again = parse_program(text, program.constants, program.device)
        assert print_program(again) == text


def test_bits_by_bits_are_counted_where_pes_have_gates_for_them() -> None:
    path = SHARED / "qonnx" / "TFC_1W1A.onnx"
    if not path.is_file():
        pytest.skip(f"needs {path}, which is not part of the project")
    graph = load_model(path)
    fused = _device("fused")
    gates = with_array(fused, fused_from_bits=1)
    assert grid_of(fused, 1, 1).terms == 16
    assert grid_of(gates, 1, 1).terms == 64
    assert grid_of(gates, 8, 1).terms == grid_of(fused, 8, 1).terms
    slow, fast = (simulate(graph, d) for d in (fused, gates))
    assert fast.totals.cycles < slow.totals.cycles
    assert fast.energy_by_component_pj["mac"] < slow.energy_by_component_pj["mac"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"multiplier": "shift", "precision_scaling": "fused"}, "shift not together with"),
        ({"multiplier": "shift", "sparsity": "2:4"}, "shift not together with"),
        ({"fused_from_bits": 1}, "1 with precision_scaling 'none', not fused"),
        ({"codebook_entries": 257}, "codebook_entries"),
        ({"group_factor_bits": 9}, "group_factor_bits"),
    ],
)
def test_arrays_that_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        with_array(load_device("edge-stick"), **settings)


def test_a_file_of_codes_is_as_small_as_it_says(tmp_path: Path) -> None:
    from simulator.quantizing import write_quantized

    net = load_float_model(write_network(tmp_path / "net.onnx"))
    for name in ("kmeans", "groups", "product"):
        found = quantize_graph(net, samples(24), SCHEMES[name], "onnxruntime")
        graph = write_quantized(found, tmp_path / "out.onnx")
        array = {"kmeans": "table", "groups": "factors", "product": "vectors"}[name]
        read, made = (
            _products(compile(g, _device(array)))["pointwise3"] for g in (graph, found.graph)
        )
        assert (read.table_entries, read.group) == (made.table_entries, made.group)
        assert read.stored_millibits <= made.stored_millibits
