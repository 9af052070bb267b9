"""What is published of a device beside what the model makes of its description: peak, power, area.

Peaks follow from array and clock. The power at the peak is that of a large product on the device with a
memory behind its DMA that is never waited for, without what that memory and the host draw: of a published
power it stands for the engine. Where the publication speaks of a chip or a board, which is more, the model
can only be below it. Nothing is fitted; ``power.other_mw`` counts where a publication gives it.
"""

from __future__ import annotations

from simulator.energy.counts import count_program
from simulator.energy.model import EnergyModel
from simulator.energy.uncertainty import effects, spread, total_work, work_pj
from simulator.hwconfig import Device, load_device, with_keys
from simulator.networks import product
from simulator.npu import load_model, simulate
from simulator.result import PublishedCheck, Result, Watts

_ROWS = 1024  # of the product: long enough for fills and drains not to count


def on_chip_power(result: Result) -> Watts:
    """Average power of a run without the memory behind the DMA and the host."""
    device, point = result.device, result.point
    done = total_work(count_program(result.program, point), result.totals.cycles)
    none = {"dram_read_bytes": 0, "dram_write_bytes": 0, "host_operations": 0}
    work = done._replace(counts=done.counts._replace(**none))
    value = work_pj(EnergyModel(device, point), work)
    ends = spread(device, point, work, effects(device, point, work))
    return Watts(*(1e-12 * pj / result.totals.latency_s for pj in (value, *ends)))


def at_peak(device: Device, operating_point: str | None = None) -> Result:
    """A large product on ``device``, whose DRAM is never waited for."""
    array = device.array
    free = with_keys(device, {
        "dram": {"bandwidth_mb_per_s": 1e9, "row_bytes": 0, "row_cycle_ns": 0.0,
                 "refresh_interval_ns": 0.0, "refresh_ns": 0.0, "turnaround_ns": 0.0},
        "dma": {"bytes_per_cycle": 1 << 20, "latency_cycles": 0, "burst_bytes": 1, "request_bytes": None,
                "write_request_bytes": None, "outstanding_requests": None},
    })  # fmt: skip
    model = product(_ROWS, 8 * array.rows, 8 * array.cols * device.cores)
    return simulate(model, free, operating_point=operating_point)


def published_check(name: str) -> PublishedCheck:
    """The shipped device ``name``."""
    device = load_device(name)
    load = device.published.load
    result = at_peak(device) if load is None else simulate(load_model(load), device)
    t = result.totals
    return PublishedCheck(
        device, device.peak_tops(device.operating_point()), on_chip_power(result), t.tops, t.area_mm2,
        t.area_low_mm2, t.area_high_mm2,
    )  # fmt: skip
