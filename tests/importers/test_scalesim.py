"""SCALE-Sim's topologies and configurations, and its reports."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.cli import main
from simulator.errors import DeviceError, ModelError
from simulator.hwconfig import load_device
from simulator.importers.scalesim import read_config, read_topology
from simulator.npu import load_model, simulate
from simulator.timing.array_alone import array_report

REPORTS = Path(__file__).parents[2].parent / "shared" / "reference" / "scalesim_layers.csv"
HEADER = (
    "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
)
CONFIG = """[general]
run_name = trial
[architecture_presets]
ArrayHeight : {rows}
ArrayWidth : {cols}
IfmapSramSzkB: 64
Dataflow : {dataflow}
Bandwidth : 10
[run_presets]
InterfaceBandwidth: {bandwidth}
"""


def config_file(folder: Path, rows: object, cols: object, dataflow: str, bandwidth: str) -> Path:
    path = folder / f"{dataflow}_{rows}x{cols}.cfg"
    path.write_text(CONFIG.format(rows=rows, cols=cols, dataflow=dataflow, bandwidth=bandwidth))
    return path


def runs() -> Iterator[tuple[tuple[str, str, str], list[dict[str, str]]]]:
    """The reports by array and dataflow."""
    with REPORTS.open(newline="") as file:
        layers = list(csv.DictReader(file))
    assert len(layers) == 326
    keys = "array_rows", "array_cols", "dataflow"
    for key in dict.fromkeys(tuple(layer[k] for k in keys) for layer in layers):
        rows, cols, dataflow = key
        yield (rows, cols, dataflow), [la for la in layers if tuple(la[k] for k in keys) == key]


@pytest.mark.skipif(not REPORTS.is_file(), reason="SCALE-Sim's reports are not in this checkout")
def test_every_report_of_scalesim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cycles less stalls (one layer has some), utilizations to the digits printed, accesses; from files as
    SCALE-Sim reads them."""
    seen = 0
    sizes = (
        "ifmap_h",
        "ifmap_w",
        "kernel_h",
        "kernel_w",
        "channels",
        "filters",
        "stride_h",
        "stride_w",
    )
    for (rows, cols, dataflow), layers in runs():
        topology = tmp_path / "topology.csv"
        lines = [f"{la['layer']}, {', '.join(la[s] for s in sizes)}," for la in layers]
        topology.write_text("\n".join([HEADER, *lines]) + "\n")
        config = config_file(tmp_path, rows, cols, dataflow, "CALC")
        assert main(["scalesim", str(topology), str(config), "--json", "-"]) == 0
        found = json.loads(capsys.readouterr().out)["layers"]
        for layer, own in zip(layers, found, strict=True):
            expected = {
                key: float(text)
                for key, text in layer.items()
                if key not in ("network", "dataflow", "layer")
            }
            assert own["layer"] == layer["layer"]
            assert own["cycles"] == expected["total_cycles"] - expected["stall_cycles"]
            assert own["ifmap_reads"] == expected["sram_ifmap_reads"]
            assert own["weight_reads"] == expected["sram_filter_reads"]
            assert own["ofmap_writes"] == expected["sram_ofmap_writes"]
            for share in ("mapping_efficiency", "compute_utilization"):
                assert 100 * own[share] == pytest.approx(expected[f"{share}_pct"], abs=6e-7)
            if not expected["stall_cycles"]:
                overall = expected["overall_utilization_pct"]
                assert 100 * own["overall_utilization"] == pytest.approx(overall, abs=6e-7)
            seen += 1
    assert seen == 326


def test_forms_of_a_topology(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text(
        f"{HEADER}\n\nConv1, 224, 220, 7, 5, 3, 64, 2,\nwide, 9, 9, 3, 3, 1, 1, 1, 2,#dw\n"
        "DP_2, 10, 10, 3, 3, 2, 1, 1, 1:1,\n"
    )
    layers = read_topology(path)
    assert [layer.name for layer in layers] == ["Conv1", "wide", "DP_2Channel_0", "DP_2Channel_1"]
    first, wide, split, _ = (layer.nest for layer in layers)
    assert (first.out_h, first.out_w, first.k, first.n, first.kernel_h, first.kernel_w) == (
        110,
        109,
        3,
        64,
        7,
        5,
    )
    assert (wide.out_h, wide.out_w) == (7, 4)
    assert (split.k, split.n, split.out_h) == (1, 1, 8)
    path.write_text("\ufeffLayer,M,N,K,\nL0,196,192,384,\n")
    (product,) = read_topology(path)
    assert (product.nest.out_h, product.nest.out_w, product.nest.n, product.nest.k) == (
        196,
        1,
        192,
        384,
    )
    # m = 196, k = 384, n = 192 on 16 x 16: 24 x 12 folds of 196 + 2 * 16 + 16 - 2 cycles, counted from 0.
    assert array_report(product.nest, 0, 16, 16).cycles == 24 * 12 * 242 - 1


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topology = tmp_path / "net.csv"
    topology.write_text("Layer,M,N,K\nL0,4,2,2\nL1,1,1,1\n")
    config = config_file(tmp_path, 2, 2, "os", "USER")
    assert main(["scalesim", str(topology), str(config)]) == 0
    # Two folds of 2 + 2 + 2 - 2 cycles, and one of 1 + 2 + 2 - 2, counted from 0.
    assert (
        capsys.readouterr().out
        == """\
2 x 2 PEs, output_stationary: folds back to back, memories that never stall, as SCALE-Sim counts

layer      cycles    overall    mapping    compute    ifmap reads    weight reads    ofmap writes
-------  --------  ---------  ---------  ---------  -------------  --------------  --------------
L0              7    57.14 %   100.00 %    50.00 %              8               8              16
L1              2    12.50 %    25.00 %     8.33 %              1               1               5

2 layers, 9 cycles
The configuration has a bandwidth of its own: stalls of the interface are not counted.
"""
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; allowed: a SCALE-Sim topology"),
        (HEADER, "has no layer"),
        ("a,b,c\nd,1,2", "line 1: columns b, c; allowed: Layer, ifmap height, ifmap width,"),
        (f"{HEADER}\nx,1,2,3,", "line 2: 3 numbers; allowed: ifmap height, ifmap width, filter height"),
        (f"{HEADER}\nx,9,9,3,3,1,1,0,", "line 2: '0'; allowed: a whole number from 1 to 16777216"),
        (f"{HEADER}\nx,9,9,3,3,1,1,1,2:4,", "line 2: sparse weights, '2:4'; allowed: dense ones, 1:1"),
        (f"{HEADER}\nx,9,2,3,3,1,1,1,", "line 2: a filter of 3 x 3 on an ifmap of 9 x 2; allowed:"),
        ("Layer,M,N,K\nx,1,2,3,4", "line 2: 4 numbers; allowed: M, N, K"),
        (b"\xff\xfe", "is not text: "),
    ],
)  # fmt: skip
def test_a_topology_that_is_none(text: str | bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError) as caught:
        read_topology(path)
    assert str(caught.value).removeprefix(f"{path}: ").startswith(said)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("0", 4, "ws", "CALC"), "ArrayHeight: '0'; allowed: a whole number from 1 to 65536"),
        ((4, "four", "ws", "CALC"), "ArrayWidth: 'four'; allowed: a whole number from 1 to 65536"),
        ((4, 4, "rs", "CALC"), "Dataflow: 'rs'; allowed: ws, os, is"),
        ((4, 4, "ws", "user"), "InterfaceBandwidth: 'user'; allowed: CALC, USER"),
    ],
)
def test_a_configuration_that_is_none(
    values: tuple[object, object, str, str], said: str, tmp_path: Path
) -> None:
    path = config_file(tmp_path, *values)
    with pytest.raises(DeviceError) as caught:
        read_config(path)
    assert str(caught.value) == f"{path}: {said}"


def test_no_configuration_at_all(tmp_path: Path) -> None:
    path = tmp_path / "array.cfg"
    with pytest.raises(
        DeviceError, match=r"array\.cfg: cannot be read: No such file or directory$"
    ):
        read_config(path)
    path.write_text("ArrayHeight: 4")
    with pytest.raises(
        DeviceError, match=r"array\.cfg: is no configuration: File contains no section"
    ):
        read_config(path)
    path.write_text("[general]\nrun_name = x")
    with pytest.raises(
        DeviceError, match=r"array\.cfg: has no Dataflow in \[architecture_presets\]$"
    ):
        read_config(path)


@pytest.mark.parametrize(
    ("topology", "macs"),
    [
        (f"{HEADER}\nfirst, 9, 8, 3, 2, 5, 7, 2,\nlast, 1, 1, 1, 1, 40, 10, 1,\n", 4 * 4 * 210 + 400),
        ("Layer, M, N, K,\nonly, 5, 6, 7,\n", 210),
    ],
)  # fmt: skip
def test_a_topology_as_a_model(
    topology: str, macs: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 8 columns, windows of 3 by steps of 2 give 4: the last one ends beyond the ifmap, and counts."""
    path = tmp_path / "net.csv"
    path.write_text(topology)
    result = simulate(load_model(path), load_device("wear"))
    assert result.totals.macs == macs
    assert [layer.name.split()[1] for layer in result.layers] == [
        line.split(",")[0] for line in topology.splitlines()[1:]
    ]
    assert main(["run", str(path), "--device", "gemmini"]) == 0
    assert "net.csv" in capsys.readouterr().out


def test_a_topology_too_large_to_be_a_model(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("Layer, M, N, K,\nlarge, 5, 65536, 65536,\n")
    with pytest.raises(ModelError, match=r"4294967296 weights; allowed: at most 1073741824"):
        load_model(path)
