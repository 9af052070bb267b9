"""The account of an output is the output the datapath computed."""

from __future__ import annotations

import numpy as np
import pytest
from random_devices import compile_tightly
from random_layers import LAYERS

from simulator.datapath.explain import explain_output
from simulator.datapath.machine import Machine
from simulator.fixedpoint.requantize import KINDS, requantize
from simulator.importers.tflite import read_tflite
from simulator.program.commands import Move

PRODUCTS = ("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "batch_matmul")


ACCUMULATORS = [
    pytest.param({"accumulator_bits": 32, "overflow": "wrap"}, id="wide"),
    pytest.param({"accumulator_bits": 13, "overflow": "wrap"}, id="narrow-wrap"),
    pytest.param({"accumulator_bits": 13, "overflow": "saturate"}, id="narrow-saturate"),
]


@pytest.mark.parametrize("array", ACCUMULATORS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_every_output_of_small_layers(name: str, array: dict[str, int | str]) -> None:
    explained = narrowed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed + 500)
        layer = LAYERS[name](rng)
        program = compile_tightly(
            rng, read_tflite(layer.content, name), ifmap_bits=16, weight_bits=16, **array
        )
        (command,) = (c for c in program.commands if not isinstance(c, Move))
        run = Machine(program).run(layer.inputs, keep=program.placements)
        values = {**layer.inputs, **run.tensors}
        outputs = values[command.ofmap][0]
        for index in list(np.ndindex(*outputs.shape))[:200]:
            e = explain_output(program, command, [values[n][0] for n in command.inputs], index)
            assert e is not None
            code = e.zero_point + requantize(KINDS[e.requantizer], e.kept, e.multiplier, e.shift)
            assert min(max(code, e.clamp_min), e.clamp_max) == outputs[index]
            explained += 1
            narrowed += e.kept != e.accumulator
    assert explained > 1000
    assert (narrowed > 100) == (array["accumulator_bits"] == 13)


def test_what_has_no_accumulator_is_not_explained() -> None:
    rng = np.random.default_rng(0)
    layer = LAYERS["max_pool_2d"](rng)
    program = compile_tightly(rng, read_tflite(layer.content, "pool"))
    (command,) = program.commands
    assert explain_output(program, command, [layer.inputs["x"][0]], (0, 0, 0, 0)) is None
