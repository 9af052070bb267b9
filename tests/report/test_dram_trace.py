"""The bursts of a run: as many bytes as are counted, from where things lie, when the bus has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from every_command import device as device_of_commands
from every_command import network
from real_models import graph_of
from variants import TIMING_VARIANTS, variant

from simulator.cli import main
from simulator.errors import UsageError
from simulator.hwconfig import load_device
from simulator.npu import simulate
from simulator.program.program import DRAM
from simulator.report.dram_trace import FORMATS, accesses, dram_trace
from simulator.result import Result

CASES = [
    ("digits", "ethos-u55-256", {}), ("resnet", "ethos-u55-256", {}), ("vww", "wear", {}),
    ("resnet", "wear", TIMING_VARIANTS["starved"]), ("kws", "gap9", {"scratchpad.resident_weights": False}),
    ("mobilenet_v2", "fsd", {"scratchpad.resident_weights": False}),
]  # fmt: skip


def assert_sound(result: Result) -> None:
    found, burst = list(accesses(result)), result.device.dma.burst_bytes
    moved = {False: set[int](), True: set[int]()}
    last = 0
    for access in found:
        assert access.address % burst == 0
        assert last <= access.cycle <= result.totals.cycles
        last = access.cycle
        moved[access.write].add(access.address)
    # Parts of a burst count as whole ones; nothing that is counted is missing.
    assert len(found) * burst >= result.totals.dram_bytes
    places = [p for p in result.program.placements.values() if p.region == DRAM]
    ends = max(p.address_bytes + p.spec.size_bytes for p in places)
    assert all(at < ends for at in moved[True])
    for names, write in ((result.program.inputs, False), (result.program.outputs, True)):
        for name in names:
            place = result.program.placements[name]
            end = place.address_bytes + place.spec.size_bytes
            wanted = range(place.address_bytes // burst * burst, end, burst)
            assert set(wanted) <= moved[write], name


@pytest.mark.parametrize(("model", "base", "changes"), CASES, ids=[f"{m}-{d}" for m, d, _ in CASES])
def test_real_models(model: str, base: str, changes: dict) -> None:
    assert_sound(simulate(graph_of(model), variant(base, changes)))


@pytest.mark.parametrize("room", [384, 1 << 16])
def test_every_kind_of_command(room: int) -> None:
    assert_sound(simulate(network(), device_of_commands(True, room)))


def test_bursts_of_one_byte_are_the_bytes_counted() -> None:
    """Nothing is rounded up then: each byte that is counted passes once, each time that it is counted."""
    for model, base in (("digits", "ethos-u55-256"), ("vww", "wear"), ("ad01", "ethos-u55-256")):
        result = simulate(graph_of(model), variant(base, {"dma.burst_bytes": 1}))
        assert sum(1 for _ in accesses(result)) == result.totals.dram_bytes


def test_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace"
    run = ["run", "digits", "--device", "ethos-u55-256", "--dram-trace", str(path)]
    assert main(run) == 0
    lines = path.read_text().splitlines()
    assert all(re.fullmatch(r"0x[0-9a-f]+ (READ|WRITE) \d+", line) for line in lines)
    assert main([*run, "--dram-trace-format", "ramulator2"]) == 0
    others = path.read_text().splitlines()
    assert all(re.fullmatch(r"(LD|ST) 0x[0-9a-f]+", line) for line in others)
    assert [line.split()[0] for line in lines] == [line.split()[1] for line in others]
    assert main([*run, "--cores", "2"]) == 2
    assert "DRAM trace: of 2 cores; allowed: a device of one core" in capsys.readouterr().err
    with pytest.raises(UsageError, match="format 'vcd'"):
        dram_trace(simulate(graph_of("digits"), load_device("wear")), "vcd")
    assert FORMATS == ("dramsim3", "ramulator2")
