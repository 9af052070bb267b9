"""A model on one core, two, and more: divided over them, or an inference on each."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.errors import UsageError
from simulator.graph import Graph
from simulator.hwconfig import Device, with_keys
from simulator.npu import compile, simulate
from simulator.result import ScalingPoint
from simulator.timing.cores import time_copies
from simulator.timing.pipeline import time_program


def scaling(
    model: Graph,
    device: Device,
    cores: Iterable[int],
    *,
    shared_scratchpad: bool = False,
    operating_point: str | None = None,
) -> list[ScalingPoint]:
    """``model`` on ``device`` with each number of ``cores``, which share its DRAM.

    ``shared_scratchpad``: the cores that divide an inference have one scratchpad together, as large as one
    core's; without it each has its own.
    """
    point = device.operating_point(operating_point)
    one = compile(model, with_keys(device, {"cores": 1}), operating_point)
    alone = time_program(one, point).cycles
    found = []
    for count in cores:
        if not 1 <= count <= 64:
            raise UsageError("cores", str(count), "1 to 64")
        changed = with_keys(device, {"cores": count, "shared_scratchpad": shared_scratchpad})
        result = simulate(model, changed, operating_point=operating_point)
        commands = result.program.commands
        divided = sum(bool(getattr(command, "split", "")) for command in commands)
        together = time_copies(one, point, count) if count > 1 else alone
        free = result.timing.uncontended_cycles or result.totals.cycles
        found.append(
            ScalingPoint(count, result.totals.cycles, free, divided, len(commands), together, alone)
        )
    return found
