"""Whole random networks on random devices equal LiteRT's reference kernels in every output."""

from __future__ import annotations

import numpy as np
import pytest
from litert_runner import LiteRTRunner
from random_devices import compile_tightly
from random_networks import random_network

from simulator.datapath.machine import Machine
from simulator.importers.tflite import read_tflite
from simulator.program.program import DRAM

NETWORKS = 400


@pytest.mark.parametrize("part", range(4))
def test_equals_litert(part: int) -> None:
    on_chip = spilled = 0
    for seed in range(part * NETWORKS // 4, (part + 1) * NETWORKS // 4):
        rng = np.random.default_rng(seed)
        network = random_network(rng)
        program = compile_tightly(rng, read_tflite(network.content, f"network {seed}"))
        got = Machine(program).run(network.inputs).outputs
        expected = LiteRTRunner(network.content).run(network.inputs)
        assert set(got) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(got[name], values, f"seed {seed}, tensor {name}")
        outside = {*program.inputs, *program.outputs}
        inner = [p.region for p in program.placements.values() if p.name not in outside]
        on_chip += sum(region != DRAM for region in inner)
        spilled += sum(region == DRAM for region in inner)
    # Both kinds of placement occur often.
    assert min(on_chip, spilled) > 50
