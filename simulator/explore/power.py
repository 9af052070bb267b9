"""Operating points beyond those of a device file; what a model draws at each, at a rate, over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from simulator.energy.model import EnergyModel
from simulator.energy.scaling import clock_factor, energy_factor
from simulator.errors import CompileError, DeviceError, UsageError
from simulator.evaluation import Progress
from simulator.explore.published import at_peak, on_chip_power
from simulator.graph import Graph
from simulator.hwconfig import Device, OperatingPoint, with_keys
from simulator.npu import simulate
from simulator.result import PowerPoint, PowerTrace, Result
from simulator.timing.spans import ARRAY, BUS, COMMANDS, HOST_TRACK, VECTOR, Span

# Whose spans a component's energy is spread over; where a command has none there, over all of it.
_DRAWN_BY = {
    "mac": ARRAY, "register": ARRAY, "scratchpad": ARRAY, "accumulator": ARRAY, "wire": ARRAY,
    "vector": VECTOR, "dram": BUS, "host": HOST_TRACK,
}  # fmt: skip
_INTERVALS = 200
_OF_A_CURVE = 7  # points
_LOWEST, _HIGHEST = 0.6, 1.1  # of the voltages of a device file, where it gives but one point


def power_over_time(result: Result, intervals: int = _INTERVALS) -> PowerTrace:
    """Power of a run in so many intervals.

    What a command takes is spread evenly over what its engine does in that time: array, vector unit, DRAM
    bus, host; leakage, idle power and instructions over all of the command. Over all intervals it is the
    energy of the run.
    """
    if intervals < 1:
        raise UsageError("intervals", str(intervals), "at least 1")
    cycles = result.totals.cycles
    cores = len(result.timing.cores) or 1
    by_command: dict[tuple[int, str], list[Span]] = {}
    for core in range(cores):
        for span in result.spans(core):
            # Weights fetched ahead lie before their command and are drawn where they lie.
            by_command.setdefault((span.command, span.track), []).append(span)
    edges = np.linspace(0, cycles, intervals + 1)
    interval_s = cycles / intervals / (result.point.clock_mhz * 1e6)
    watts = {}
    for component in result.energy_by_component_pj:
        spread = np.zeros(intervals)
        for index, layer in enumerate(result.layers):
            energy_pj = layer.energy_by_component_pj[component]
            if not energy_pj:
                continue
            whole = by_command[index, COMMANDS]
            spans = by_command.get((index, _DRAWN_BY.get(component, COMMANDS)), whole)
            spread += energy_pj * _share_of_intervals(spans, edges)
        watts[component] = 1e-12 * spread / interval_s
    return PowerTrace(interval_s, watts)


def _share_of_intervals(spans: Sequence[Span], edges: np.ndarray) -> np.ndarray:
    """Part of the time of ``spans`` that falls between each two of ``edges``; they sum to 1."""
    starts = np.sort(np.array([s.start for s in spans], np.float64))
    ends = np.sort(np.array([s.end for s in spans], np.float64))

    def before(times: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Sum over ``times`` of what lies between each and every place after it."""
        sums = np.concatenate([[0.0], np.cumsum(times)])
        count = np.searchsorted(times, places)
        return count * places - sums[count]

    done = before(starts, edges) - before(ends, edges)
    total = float(np.sum(ends) - np.sum(starts))
    if total == 0:
        return np.diff(edges) / (edges[-1] - edges[0])
    return np.diff(done) / total


def voltage_points(device: Device, count: int) -> list[OperatingPoint]:
    """``count`` operating points over the voltages of ``device``, or over 0.6 to 1.1 times that of its only
    one, as far as the energy fit goes.

    Between two points of its file the clock is on the line through them; beyond, and where there is but
    one, it follows the alpha-power law of the node (``energy.scaling.clock_factor``).
    """
    if count < 2:
        raise UsageError("points", str(count), "at least 2")
    known = sorted(device.operating_points, key=lambda p: p.voltage_v)
    lowest, highest = known[0].voltage_v, known[-1].voltage_v
    if lowest == highest:
        lowest, highest = _LOWEST * lowest, _HIGHEST * highest
    found = []
    for volts in np.linspace(lowest, highest, count):
        voltage_v = round(float(volts), 3)
        try:
            clock_mhz = _clock(device, known, voltage_v)
            energy_factor(device.energy.node_nm, voltage_v, device.energy.node_nm, highest)
        except DeviceError:
            continue  # below what the node's laws cover
        name = f"{voltage_v:g} V"
        found.append(OperatingPoint(name=name, voltage_v=voltage_v, clock_mhz=round(clock_mhz, 3)))
    if len(found) < 2:
        raise DeviceError(
            device.name, f"no two voltages between {lowest:g} and {highest:g} V have a clock"
        )
    return found


def _clock(device: Device, known: Sequence[OperatingPoint], voltage_v: float) -> float:
    for low, high in pairwise(known):
        if low.voltage_v <= voltage_v <= high.voltage_v and low.voltage_v < high.voltage_v:
            way = (voltage_v - low.voltage_v) / (high.voltage_v - low.voltage_v)
            return low.clock_mhz + way * (high.clock_mhz - low.clock_mhz)
    near = min(known, key=lambda p: abs(p.voltage_v - voltage_v))
    factor = clock_factor(device.energy.node_nm, voltage_v, near.voltage_v, device.name)
    return near.clock_mhz * factor


def power_points(
    model: Graph,
    device: Device,
    *,
    points: int | None = None,
    rate_per_s: float | None = None,
    tdp_w: float | None = None,
    intervals: int = _INTERVALS,
) -> list[PowerPoint]:
    """``model`` at the operating points of ``device``'s file, or at so many over its voltages.

    ``rate_per_s``: inferences that are asked for; between them the device sleeps. ``tdp_w``: the power that
    can be carried away, in place of the device's own.
    """
    if rate_per_s is not None and not 0 < rate_per_s < 1e9:
        raise UsageError("rate", str(rate_per_s), "above 0, per second")
    if tdp_w is not None and not 0 < tdp_w < 1e6:
        raise UsageError("tdp", str(tdp_w), "above 0, in watts")
    own = device.operating_points if points is None else voltage_points(device, points)
    # Powers that the file states are those of its first point, which therefore stays.
    extended = with_keys(device, {"operating_points": [
        *(p.model_dump() for p in device.operating_points),
        *(p.model_dump() for p in own if p not in device.operating_points),
    ]})  # fmt: skip
    return [
        _at(simulate(model, extended, operating_point=p.name), rate_per_s, tdp_w, intervals)
        for p in own
    ]


def efficiency_curves(
    model: Graph, devices: Sequence[Device], progress: Progress | None = None
) -> dict[str, list[PowerPoint]]:
    """``model`` on each of ``devices`` over its voltages; those that cannot run it are left out."""
    found = {}
    for device in devices:
        try:
            found[device.name] = power_points(model, device, points=_OF_A_CURVE)
        except CompileError:
            continue  # what it lacks, memory say, is said by npusim run
        finally:
            if progress:
                progress(1)
    return found


def peaks(devices: Sequence[Device]) -> dict[str, tuple[float, float]]:
    """(watts, TOPS) of each device on a product that keeps all of its array busy, without its DRAM."""
    found = {}
    for device in devices:
        result = at_peak(device)
        found[device.name] = on_chip_power(result).value, result.totals.tops
    return found


def _at(
    result: Result, rate_per_s: float | None, tdp_w: float | None, intervals: int
) -> PowerPoint:
    t = result.totals
    sleep_w = 1e-3 * EnergyModel(result.device, result.point).static.sleep
    duty = at_rate = None
    if rate_per_s is not None and rate_per_s * t.latency_s <= 1:
        duty = rate_per_s * t.latency_s
        at_rate = duty * t.average_power_w + (1 - duty) * sleep_w
    limit = tdp_w if tdp_w is not None else result.device.power.tdp_w
    share: float | None = 1.0
    if limit is not None and t.average_power_w > limit:
        share = None if sleep_w >= limit else (limit - sleep_w) / (t.average_power_w - sleep_w)
    return PowerPoint(
        result.point, t.cycles, t.latency_s, t.energy_pj, t.energy_low_pj, t.energy_high_pj,
        t.average_power_w, sleep_w, t.tops, t.tops_per_watt, t.peak_tops, duty, at_rate,
        None if share is None else share / t.latency_s, power_over_time(result, intervals),
    )  # fmt: skip
