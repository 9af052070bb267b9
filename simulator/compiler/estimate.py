"""What a choice of tiles costs, by the machine's own laws.

The closed form of a pipeline of equal tiles: the first tile passes all stages, the others follow at the
pace of the slowest stage. The timing engines later evaluate the exact recurrence.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.dataflows import (
    PIPELINED,
    SERIAL,
    Gemm,
    Grid,
    accesses,
    passing_bits,
    read_bits,
    work,
)
from simulator.fixedpoint.width import ceil_div
from simulator.hwconfig import DeviceNumbers
from simulator.jit import jit
from simulator.program.nest import ROWS_OUTER, Nest, tile_at, tile_counts
from simulator.program.traffic import (
    MATMUL,
    CommandNumbers,
    stored_bits,
    vector_cycles,
    weight_runs,
)
from simulator.program.transfers import (
    Runs,
    image_runs,
    meeting_cycles,
    trailing_cycles,
    transfer_cycles,
)

_TOO_LONG = 1e15  # cycles: beyond what 64 bits count, and beyond anybody's patience
_FOREVER = 1 << 61
# Traffic costs this part of its time even where it hides behind the array, over the bus and out of the
# scratchpad: it costs energy, and a busy bus cannot prefetch.
_TRAFFIC_PRICE = 8


class Goal(NamedTuple):
    """What makes tiles good. ``energy``, ``latency``: exponents of picojoules and cycles in the cost.

    The others are picojoules: of a byte of DRAM (and of its way into the scratchpad), of a bit out of the
    scratchpad and back, of the accumulators and the PEs' registers, and of a cycle of the whole device.
    """

    energy: int
    latency: int
    dram_byte_pj: float
    read_bit_pj: float
    accumulator_bit_pj: float
    register_bit_pj: float
    cycle_pj: float


LATENCY = Goal(0, 1, 0.0, 0.0, 0.0, 0.0, 0.0)


class _Traffic(NamedTuple):
    """How often each operand crosses the bus, and where it lies on average: ``weight_loads`` transfers of
    ``weights`` and so on. Every output tile is stored once, every ``k`` tiles."""

    tiles: int
    k: int
    weight_loads: int
    ifmap_loads: int
    weights: Runs
    ifmap: Runs
    second: Runs
    ofmap: Runs


@jit
def _mean(total_bits: int, parts: int) -> int:
    return ceil_div(total_bits, 8 * parts)


@jit
def _input_sum(extent: int, tiles: int, stride: int, reach: int, size: int) -> int:
    """Input positions along one axis that ``tiles`` tiles of outputs read, summed over the tiles."""
    return min((extent - tiles) * stride + tiles * reach, tiles * size)


@jit
def _traffic(nest: Nest, numbers: CommandNumbers, by_row: int) -> _Traffic:
    pixels, groups, n, k = tile_counts(nest)
    weight_tiles = groups * n * k
    weight_loads = weight_tiles
    if weight_tiles > 1 and (nest.order == ROWS_OUTER or k > 1):
        weight_loads *= pixels * nest.batch
    ifmap_tiles = pixels * groups * k * nest.batch
    ifmap_loads = ifmap_tiles
    if k > 1 or (nest.order != ROWS_OUTER and pixels * nest.batch > 1):
        ifmap_loads *= n
    outputs = pixels * groups * n * nest.batch
    rows, cols = ceil_div(nest.out_h, nest.tile_h), ceil_div(nest.out_w, nest.tile_w)
    reach_h = (nest.kernel_h - 1) * nest.dilation_h + 1
    reach_w = (nest.kernel_w - 1) * nest.dilation_w + 1
    read = _input_sum(nest.out_h, rows, nest.stride_h, reach_h, nest.in_h)
    read *= _input_sum(nest.out_w, cols, nest.stride_w, reach_w, nest.in_w)
    read *= nest.batch * nest.groups * nest.k
    weights = nest.groups * nest.n * nest.k * nest.kernel_h * nest.kernel_w
    weights = stored_bits(weights, numbers.stored_millibits)
    weights += nest.groups * nest.n * numbers.channel_bits
    if numbers.kind != MATMUL:  # kept from the first tile on
        weights, weight_tiles, weight_loads = 8 * numbers.whole_bytes, 1, 1
    made = nest.batch * nest.out_h * nest.out_w * nest.groups * nest.n
    reach_h = min((nest.tile_h - 1) * nest.stride_h + reach_h, nest.in_h)
    reach_w = min((nest.tile_w - 1) * nest.stride_w + reach_w, nest.in_w)
    # Where a whole tile lies is where all of them do.
    g, k_part, image = nest.tile_g, nest.tile_k, (nest.in_w, nest.k, numbers.ifmap_channels)
    ifmap = image_runs(reach_h, reach_w, g, k_part, image, numbers.ifmap_bits, by_row)
    second = image_runs(reach_h, reach_w, g, k_part, image, numbers.second_bits, by_row)
    made_image = (nest.out_w, nest.n, numbers.ofmap_channels)
    ofmap = image_runs(
        nest.tile_h, nest.tile_w, g, nest.tile_n, made_image, numbers.ofmap_bits, by_row
    )
    return _Traffic(
        outputs * k, k, weight_loads, ifmap_loads,
        _of_size(
            weight_runs(nest, numbers, tile_at(nest, 0), by_row),
            numbers.stream_weights * _mean(weights, weight_tiles),
        ),
        _of_size(ifmap, numbers.stream_ifmap * _mean(read * numbers.ifmap_bits, ifmap_tiles)),
        _of_size(second, numbers.stream_second * _mean(read * numbers.second_bits, ifmap_tiles)),
        _of_size(ofmap, numbers.stream_ofmap * _mean(made * numbers.ofmap_bits, outputs)),
    )  # fmt: skip


@jit
def _of_size(runs: Runs, size_bytes: int) -> Runs:
    return Runs(size_bytes, runs.number, runs.pitch_bytes)


@jit
def _transfer(runs: Runs, write: bool, device: DeviceNumbers) -> int:
    """Cycles of a transfer, with its part of the refreshes."""
    memory = device.memory
    cycles = transfer_cycles(runs, write, memory)
    if memory.refresh_cycles > 0:
        open_cycles = memory.refresh_interval_cycles - memory.refresh_cycles
        cycles = ceil_div(cycles * memory.refresh_interval_cycles, open_cycles)
    return cycles


class _Product(NamedTuple):
    """A tile on the array, on average: ``step`` from its start to the next one's, ``stream`` of them
    with operands entering; the others are of a full tile."""

    step: int
    stream: int
    load: int
    skew: int
    hidden_load: int


@jit
def _whole_tile(nest: Nest) -> Gemm:
    """The product of a tile that no edge cuts."""
    reduction = nest.kernel_h * nest.kernel_w * nest.tile_k
    return Gemm(nest.tile_h * nest.tile_w, reduction, nest.tile_n, nest.tile_g)


@jit
def _product(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, tiles: int
) -> _Product:
    """Tiles at the edges are smaller: each extent has whole tiles and perhaps one rest."""
    kernel = nest.kernel_h * nest.kernel_w
    step = stream = 0
    for rests in range(32):
        h, h_count = _whole_or_rest(nest.out_h, nest.tile_h, rests & 1)
        w, w_count = _whole_or_rest(nest.out_w, nest.tile_w, rests & 2)
        g, g_count = _whole_or_rest(nest.groups, nest.tile_g, rests & 4)
        n, n_count = _whole_or_rest(nest.n, nest.tile_n, rests & 8)
        k, k_count = _whole_or_rest(nest.k, nest.tile_k, rests & 16)
        count = nest.batch * h_count * w_count * g_count * n_count * k_count
        if count > 0:
            one = work(numbers.dataflow, device.overlap, Gemm(h * w, kernel * k, n, g), grid)
            stream += count * (one.body + one.last)
            # The next tile loads while this one's last fold streams.
            step += count * (one.body + max(one.last, one.load))
            if device.overlap == SERIAL:
                step += count * (min(one.last, one.load) + one.skew)
    one = work(numbers.dataflow, device.overlap, _whole_tile(nest), grid)
    hidden = min(one.load, one.last) if device.overlap == PIPELINED else 0
    return _Product(ceil_div(step, tiles), ceil_div(stream, tiles), one.load, one.skew, hidden)


@jit
def _whole_or_rest(extent: int, tile: int, rest: int) -> tuple[int, int]:
    """(size, how many) of an extent's whole tiles, or of the rest that is left."""
    if rest:
        return extent % tile, 1 if extent % tile else 0
    return tile, extent // tile


@jit
def estimate(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid
) -> tuple[int, int]:
    """(cycles, DRAM bytes) of this nest: the first tile passes all stages, the others follow at a pace.

    The pace is the longest of: what the bus moves for every tile; the array; the vector unit; the way
    of an accumulator buffer until it is free again; the way of a stream buffer, likewise. An operand that
    only every so many tiles need comes in a burst, which hides behind the buffers' tiles alone.
    """
    t = _traffic(nest, numbers, device.memory.row_by_row)
    weights = _transfer(t.weights, False, device)
    ifmap = _transfer(t.ifmap, False, device) + _transfer(t.second, False, device)
    ofmap = _transfer(t.ofmap, True, device)
    made = nest.batch * nest.out_h * nest.out_w * nest.groups * nest.n
    vector = vector_cycles(ceil_div(made * t.k, t.tiles), numbers.lane_cycles, device.lanes)
    if device.streams_out and ofmap > 0:
        ofmap, vector = max(ofmap, vector), 0
    dram = t.ifmap_loads * (t.ifmap.size_bytes + t.second.size_bytes)
    dram += t.weight_loads * t.weights.size_bytes + (t.tiles // t.k) * t.ofmap.size_bytes
    met = ceil_div(meeting_cycles(dram, device.memory), t.tiles)
    a = _Product(0, 0, 0, 0, 0)
    if numbers.kind == MATMUL:
        a = _product(nest, numbers, device, grid, t.tiles)
        a = _Product(a.step + met, a.stream + met, a.load, a.skew, a.hidden_load)
    else:
        vector += met
    operands = weights if t.weight_loads == t.tiles else 0
    operands += ifmap if t.ifmap_loads == t.tiles else 0
    bus = operands + ceil_div(ofmap, t.k)
    if operands > 0 and ofmap > 0:
        bus += ceil_div(2 * device.memory.turnaround_cycles, t.k)
    pace = max(bus, a.step, ceil_div(vector, t.k))
    if numbers.kind == MATMUL:
        taken = (t.k - 1) * a.step + a.stream + a.skew + vector
        pace = max(pace, ceil_div(taken, t.k * device.accumulator_buffers))
    # A stream buffer's next operands wait for this tile's, and, in the bus's order, for its ofmap.
    trailing = trailing_cycles(device.memory)
    trip = operands + a.load + a.stream if numbers.kind == MATMUL else operands + vector
    if operands > 0:
        trip += trailing
    every = device.buffers
    if ofmap > 0:
        trip += ofmap + (a.skew + vector if numbers.kind == MATMUL else 0)
        every = max(every, t.k)
    if trip > a.load + a.stream:
        pace += ceil_div(max(trip - device.buffers * pace, 0), every)
    if float(t.tiles) * float(pace) > _TOO_LONG:
        return _FOREVER, 0
    cycles = weights + ifmap + a.load + a.stream + a.skew + vector + ofmap + (t.tiles - 1) * pace
    if weights + ifmap > 0:
        cycles += trailing
    slack = (device.buffers - 1) * (pace - bus)
    if t.weight_loads < t.tiles and weights > slack:
        cycles += (t.weight_loads - 1) * (weights - slack + a.hidden_load)
    if t.ifmap_loads < t.tiles and ifmap > slack:
        cycles += (t.ifmap_loads - 1) * (ifmap - slack + a.hidden_load)
    return cycles, dram


class _Moved(NamedTuple):
    """Bits out of the scratchpad, through the accumulator memory, and written to registers of PEs."""

    read_bits: int
    accumulator_bits: int
    register_bits: int


@jit
def _moved(nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid) -> _Moved:
    """What the array moves, every tile taken as a full one."""
    if numbers.kind != MATMUL:
        return _Moved(0, 0, 0)
    pixels, groups, n, k = tile_counts(nest)
    tiles = nest.batch * pixels * groups * n * k
    moved = accesses(numbers.dataflow, _whole_tile(nest), grid, False)
    passing = passing_bits(numbers, device.psum_bits, grid)
    sums = moved.psum_reads + moved.psum_writes
    return _Moved(
        tiles * read_bits(moved, numbers),
        tiles * sums * device.accumulator_bits,
        tiles * moved.pe_cycles * passing,
    )


@jit
def cost_of(
    nest: Nest, numbers: CommandNumbers, device: DeviceNumbers, grid: Grid, goal: Goal
) -> tuple[float, int, int]:
    """(cost, cycles, DRAM bytes)."""
    cycles, dram = estimate(nest, numbers, device, grid)
    moved = _moved(nest, numbers, device, grid)
    if goal.energy == 0:
        moving = int(float(dram) * device.clock_khz / device.memory.kb_per_s)
        moving += ceil_div(moved.read_bits, 8 * device.read_bytes_per_cycle)
        return float(cycles + moving // _TRAFFIC_PRICE), cycles, dram
    picojoules = moved.read_bits * goal.read_bit_pj
    picojoules += moved.accumulator_bits * goal.accumulator_bit_pj
    picojoules += moved.register_bits * goal.register_bit_pj
    return energy_cost(picojoules, cycles, dram, goal), cycles, dram


@jit
def energy_cost(picojoules: float, cycles: int, dram_bytes: int, goal: Goal) -> float:
    """Cost of ``picojoules`` on chip with what DRAM and time add, for a goal that counts energy."""
    whole = picojoules + dram_bytes * goal.dram_byte_pj + cycles * goal.cycle_pj
    return whole * (float(cycles) if goal.latency else 1.0)
