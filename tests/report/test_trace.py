"""What engines do when: consistent with the plans, the timing and the trace format."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from real_models import graph_of
from variants import TIMING_VARIANTS, variant

from simulator.cli import main
from simulator.hwconfig import load_device
from simulator.npu import load_model, simulate
from simulator.report.trace import trace_of
from simulator.result import Result
from simulator.timing.plan import OPERANDS, RESULT, plan_program
from simulator.timing.plan import VECTOR as VECTOR_CYCLES
from simulator.timing.spans import ARRAY, BUS, COMMANDS, HOST_TRACK, TRACKS, VECTOR


def assert_whole(result: Result) -> None:
    """No engine does two things at once, and all it does is there."""
    spans = result.spans()
    for track in TRACKS:
        own = sorted((s for s in spans if s.track == track), key=lambda s: (s.start, s.end))
        for span in own:
            assert 0 <= span.start <= span.end <= result.timing.cycles, span
        for before, after in pairwise(own):
            assert before.end <= after.start, (before, after)
    busy = {track: sum(s.end - s.start for s in spans if s.track == track) for track in TRACKS}
    plans = plan_program(result.program, result.point)
    copies = sum(p.alone_cycles for p in plans) - busy[HOST_TRACK]
    transfers = sum(int(p.tiles[:, [OPERANDS, RESULT]].sum()) + p.prefetch_cycles for p in plans)
    if result.device.dram.refresh_ns:  # a refresh holds a transfer up
        assert busy[BUS] > transfers + copies
    else:
        assert busy[BUS] == transfers + copies
    assert busy[VECTOR] == sum(int(p.tiles[:, VECTOR_CYCLES].sum()) for p in plans)
    assert busy[COMMANDS] == result.timing.cycles
    assert busy[HOST_TRACK] == result.cycles_by_cause["host"]
    # The array streams, or waits between the folds of a tile.
    assert busy[ARRAY] >= result.cycles_by_cause["compute"]


@pytest.mark.parametrize("name", TIMING_VARIANTS)
@pytest.mark.parametrize("model", ["resnet", "micro_speech"])
def test_spans_of_real_models(model: str, name: str) -> None:
    assert_whole(simulate(graph_of(model), variant("wear", TIMING_VARIANTS[name])))


def test_the_trace_of_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.json"
    assert main(["run", "digits", "--device", "wear", "--trace", str(path)]) == 0
    assert "digits" in capsys.readouterr().out
    content = json.loads(path.read_text())
    result = simulate(load_model("digits"), load_device("wear"))
    assert content == json.loads(json.dumps(trace_of(result)))
    events = content["traceEvents"]
    assert {e["args"]["name"] for e in events if e["name"] == "thread_name"} == set(TRACKS)
    complete = [e for e in events if e["ph"] == "X"]
    assert len(complete) == len(result.spans())
    commands = [e for e in complete if e["tid"] == 1 + TRACKS.index(COMMANDS)]
    assert [e["args"]["layer"] for e in commands] == [layer.name for layer in result.layers]
    assert sum(e["args"]["cycles"] for e in commands) == result.totals.cycles
    last = commands[-1]
    assert last["ts"] + last["dur"] == pytest.approx(1e6 * result.totals.latency_s)


def test_a_trace_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "no" / "trace.json"
    assert main(["run", "digits", "--device", "wear", "--trace", str(path)]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(f"npusim: {path}: cannot be written: there is no folder")
