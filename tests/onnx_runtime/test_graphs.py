"""Properties of whole ONNX and QONNX graphs on whatever device and tiling: the datapath equals the naive
references of the operators, and the runtime's tensors wherever those are said to be known by running it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from graph_settings import graph_settings
from hypothesis import given
from onnx_compare import compared
from onnx_graphs import STEPS, OnnxCase, onnx_graphs

from simulator.ops import node_evidence
from simulator.profiles import RUN

pytest.importorskip("onnxruntime", reason="the reference runtime is an extra: npusim[verify]")

SETTINGS = graph_settings(8, len(STEPS))
DRAWN: Counter[str] = Counter()


@pytest.mark.parametrize("centre", STEPS)
def test_datapath_equals_references_equals_onnxruntime(
    centre: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("graphs")

    @SETTINGS
    @given(onnx_graphs(centre))
    def check(case: OnnxCase) -> None:
        found = compared(
            folder, case.content, compiled=lambda _: case.program, feed=case.inputs, naive=True
        )
        known = {node_evidence(case.graph, node) for node in case.graph.nodes}
        DRAWN["graphs"] += 1
        if "chosen" not in known:
            assert not found.different
            DRAWN["elements"] += found.elements
            DRAWN[RUN] += 1

    check()


def test_most_graphs_were_held_against_the_runtime() -> None:
    if DRAWN["graphs"] < len(STEPS):
        return
    assert DRAWN[RUN] > DRAWN["graphs"] / 2
    assert DRAWN["elements"] > 100 * DRAWN[RUN]
