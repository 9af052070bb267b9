"""The registers of the oracle's array and what a clock cycle does to them (see ``_oracle``)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.fixedpoint.width import Integer, saturate, wrap
from simulator.jit import jit

Ints = NDArray[np.int64]

# What a plan says of a register's content where it is not the index of a word: a zero that only
# fills up a packed grouped product, or nothing (row or column not used by this fold).
ZERO, IDLE = -1, -2

# A register holds (value, kind, mark, terms, further values): a word of a fused PE is several operands of
# one sum, of which the last word of a reduction holds fewer. Kinds; a wavefront is anything above a bubble:
_BUBBLE, _PASSING, _FILLER, _WORD = 0, 1, 2, 3
# Marks of a streamed operand. A stationary operand is marked with the rows it still has to descend.
_FIRST, _LAST = 1, 2

# Counters, by index:
(LEFT_READS, TOP_READS, PSUM_READS, PSUM_WRITES, MACS, PE_CYCLES, HAZARDS, BUS_PEAK,
 ENTRY, LAST_ENTRY, STREAM_END, DONE, ENTERED, WAIT_LOAD, WAIT_DRAIN) = range(15)  # fmt: skip
COUNTERS = 15


class OracleArray(NamedTuple):
    """The array: PEs, groups sharing a fold, accumulator.

    ``terms``: operands in a word. ``psum_bits``: of a sum in a PE, where that is not the accumulator's.
    ``early``: cycles by which an output stationary stream starts before the column buses are free,
    to show that they are then used twice.
    """

    rows: int
    cols: int
    packed: int
    accumulator_bits: int
    saturating: bool
    early: int = 0
    terms: int = 1
    psum_bits: int = 0


class Plan(NamedTuple):
    """Which word goes where, by fold f: indices into flat operands, or ``ZERO`` or ``IDLE``.

    ``steps`` (f,) operand rows streamed; ``left`` (f, step, row) and ``top`` (f, row or step, col)
    what enters; ``out`` (f, step or row, col) accumulator address of what leaves. ``*_words`` (words,
    operands of each), ``*_terms`` how many of them there are.
    """

    steps: Ints
    left: Ints
    top: Ints
    out: Ints
    left_words: Ints
    top_words: Ints
    left_terms: Ints
    top_terms: Ints


class Memory(NamedTuple):
    """Accumulator memory (flat ``values``, whether ``written``) and the ``counters``."""

    values: Ints
    written: Ints
    counters: Ints


class _Registers(NamedTuple):
    """Registers as (row, col, content) and skew lines as (row or col, delay, same)."""

    left_line: Ints
    top_line: Ints
    across: Ints
    down: Ints
    held: Ints
    psum: Ints
    pending: Ints
    taken: Ints


@jit
def _narrow(value: Integer, bits: int, array: OracleArray) -> Integer:
    if array.saturating:
        return saturate(value, bits)
    return wrap(value, bits)


@jit
def _registers(array: OracleArray) -> _Registers:
    rows, cols, size = array.rows, array.cols, 3 + array.terms
    return _Registers(
        np.zeros((rows, rows, size), np.int64),
        np.zeros((cols, cols, size), np.int64),
        np.zeros((rows, cols, size), np.int64),
        np.zeros((rows, cols, size), np.int64),
        np.zeros((rows, cols, size), np.int64),
        np.zeros((rows, cols), np.int64),
        np.zeros((rows, cols), np.int64),
        np.zeros((cols, 2), np.int64),
    )


@jit
def _copy(target: Ints, source: Ints) -> None:
    for field in range(source.size):
        target[field] = source[field]


@jit
def _advance(line: Ints) -> None:
    """Move every skew line on by one cycle and leave a bubble at its mouth."""
    for lane in range(line.shape[0]):
        for delay in range(lane, 0, -1):
            _copy(line[lane, delay], line[lane, delay - 1])
        line[lane, 0, :] = 0


@jit
def _feed(line: Ints, chosen: Ints, words: Ints, terms: Ints, mark: int) -> int:
    """Put one row of words into the mouths of the skew lines; returns the operands read."""
    reads = 0
    for lane in range(chosen.shape[0]):
        index = chosen[lane]
        line[lane, 0, :] = 0
        line[lane, 0, 2] = mark
        if index >= 0:
            line[lane, 0, 0] = words[index, 0]
            line[lane, 0, 4:] = words[index, 1:]
            line[lane, 0, 1] = _WORD
            line[lane, 0, 3] = terms[index]
            reads += int(terms[index])
        else:
            line[lane, 0, 1] = _FILLER if index == ZERO else _PASSING
    return reads


@jit
def _feed_stream(plan: Plan, registers: _Registers, fold: int, step: int, counters: Ints) -> None:
    """One operand row from the left, marked where it begins or ends its fold."""
    mark = (_FIRST if step == 0 else 0) | (_LAST if step == plan.steps[fold] - 1 else 0)
    counters[LEFT_READS] += _feed(
        registers.left_line, plan.left[fold, step], plan.left_words, plan.left_terms, mark
    )


@jit
def _observe_entry(counters: Ints, clock: int, fold: int, step: int) -> None:
    if fold == 0 and step == 0:
        counters[ENTRY] = clock
    if step == 0:
        counters[LAST_ENTRY] = clock
    counters[STREAM_END] = clock + 1
    counters[ENTERED] += 1


@jit
def _deposit(memory: Memory, address: int, result: int, array: OracleArray) -> None:
    """Add one result to the accumulator memory; the bias under a first result is not a read."""
    if address < 0:
        return
    memory.counters[PSUM_READS] += memory.written[address]
    memory.counters[PSUM_WRITES] += 1
    memory.written[address] = 1
    memory.values[address] = _narrow(memory.values[address] + result, array.accumulator_bits, array)


@jit
def _multiply(left: Ints, top: Ints, psum: Integer, array: OracleArray, counters: Ints) -> Integer:
    """One PE's multiplications and addition, counted where both words are there."""
    if left[1] >= _FILLER and top[1] >= _FILLER:
        counters[PE_CYCLES] += 1
        if left[1] == _WORD and top[1] == _WORD:
            counters[MACS] += left[3]
        total = psum + left[0] * top[0]
        for field in range(4, left.size):
            total += left[field] * top[field]
        return _narrow(total, array.psum_bits or array.accumulator_bits, array)
    return psum


@jit
def _stationary_pe(
    registers: _Registers, i: int, j: int, double: bool, array: OracleArray, counters: Ints
) -> None:
    """One cycle of a PE that keeps an operand, from the old content of its two neighbours.

    ``double``: the operand moves down through a shadow register and is taken over when a fold's
    first streamed operand comes by; else the PE works from the register it is loaded through.
    """
    operand = registers.left_line[i, i] if j == 0 else registers.across[i, j - 1]
    above = registers.top_line[j, j] if i == 0 else registers.down[i - 1, j]
    shadow, held = registers.down[i, j], registers.held[i, j]
    psum = registers.psum[i - 1, j] if i > 0 else 0
    if operand[1] > _BUBBLE:
        first, last = operand[2] & _FIRST, operand[2] & _LAST
        if first and registers.pending[i, j] == 0:
            counters[HAZARDS] += 1  # the stationary operand has not arrived
        if double and first:
            _copy(held, shadow)
        if (double and first) or (not double and last):
            registers.pending[i, j] = 0
        psum = _multiply(operand, held if double else shadow, psum, array, counters)
    registers.psum[i, j] = psum
    _copy(registers.across[i, j], operand)
    # From the edge anything enters row 0; below, only what has not reached its row moves on.
    if above[1] > _BUBBLE and (i == 0 or above[2] > 0):
        if registers.pending[i, j] == 1:
            counters[HAZARDS] += 1  # overwrites an operand still in use
        _copy(shadow, above)
        if i > 0:
            shadow[2] -= 1
        if shadow[2] == 0:
            registers.pending[i, j] = 1


@jit
def _stationary_cycle(
    registers: _Registers, plan: Plan, memory: Memory, array: OracleArray, double: bool
) -> int:
    """One cycle of the whole array; returns 1 if a fold's last wavefront has passed it.

    PEs are visited from the lower right corner: each still sees its neighbours' old content.
    """
    bottom, right = array.rows - 1, array.cols - 1
    for i in range(bottom, -1, -1):
        for j in range(right, -1, -1):
            _stationary_pe(registers, i, j, double, array, memory.counters)
    for j in range(array.cols):
        operand = registers.across[bottom, j]
        if operand[1] > _BUBBLE:
            # Each column counts the (fold, step) whose result it lets out.
            fold, step = registers.taken[j, 0], registers.taken[j, 1]
            _deposit(memory, plan.out[fold, step, j], registers.psum[bottom, j], array)
            last = 1 if operand[2] & _LAST else 0
            registers.taken[j, 0] = fold + last
            registers.taken[j, 1] = 0 if last else step + 1
    corner = registers.across[bottom, right]
    return 1 if corner[1] > _BUBBLE and corner[2] & _LAST else 0


@jit
def run_stationary(plan: Plan, memory: Memory, array: OracleArray, pipelined: bool) -> None:
    """Play all folds of an array that keeps what comes from the top.

    A fold streams once it is loaded and its predecessor has entered. It loads once its predecessor
    has begun to stream (``pipelined``) or has left the array.
    """
    registers = _registers(array)
    counters = memory.counters
    count = plan.steps.shape[0]
    loaded = load_step = streaming = step = begun = completed = 0
    clock = 0
    while completed < count:
        _advance(registers.left_line)
        _advance(registers.top_line)
        entering = streaming < loaded
        if entering:
            _observe_entry(counters, clock, streaming, step)
            _feed_stream(plan, registers, streaming, step, counters)
            begun = streaming + 1
            step += 1
            if step == plan.steps[streaming]:
                streaming += 1
                step = 0
        loading = loaded < count and loaded <= (begun if pipelined else completed)
        if not entering and 0 < streaming < count:
            counters[WAIT_LOAD if loading else WAIT_DRAIN] += 1
        if loading:
            row = array.rows - 1 - load_step  # the lowest row's operand goes in first
            counters[TOP_READS] += _feed(
                registers.top_line, plan.top[loaded, row], plan.top_words, plan.top_terms, row
            )
            load_step += 1
            if load_step == array.rows:
                loaded += 1
                load_step = 0
        completed += _stationary_cycle(registers, plan, memory, array, pipelined)
        clock += 1
    counters[DONE] = clock


@jit
def _accumulating_cycle(
    registers: _Registers, plan: Plan, memory: Memory, array: OracleArray
) -> int:
    """One cycle of an array that keeps partial sums; returns 1 if a fold has passed it.

    A PE that sees the last operands of a fold puts its sum on its column's bus in that cycle; PEs
    that the fold leaves idle hold their slot too.
    """
    counters = memory.counters
    completed = 0
    for j in range(array.cols - 1, -1, -1):
        bus_users = 0
        for i in range(array.rows - 1, -1, -1):
            left = registers.left_line[i, i] if j == 0 else registers.across[i, j - 1]
            top = registers.top_line[j, j] if i == 0 else registers.down[i - 1, j]
            if (left[1] > _BUBBLE) != (top[1] > _BUBBLE) or left[2] != top[2]:
                counters[HAZARDS] += 1  # the two operands are not of the same step
            if left[1] > _BUBBLE:
                start = 0 if left[2] & _FIRST else registers.psum[i, j]
                registers.psum[i, j] = _multiply(left, top, start, array, counters)
                if left[2] & _LAST:
                    bus_users += 1
                    # The column counts its sums: rows give theirs in turn, fold after fold.
                    fold, row = registers.taken[j, 0], registers.taken[j, 1]
                    _deposit(memory, plan.out[fold, row, j], registers.psum[i, j], array)
                    wrapped = row + 1 == array.rows
                    registers.taken[j, 0] = fold + (1 if wrapped else 0)
                    registers.taken[j, 1] = 0 if wrapped else row + 1
                    if i == array.rows - 1 and j == array.cols - 1:
                        completed = 1
            _copy(registers.across[i, j], left)
            _copy(registers.down[i, j], top)
        counters[BUS_PEAK] = max(counters[BUS_PEAK], bus_users)
    return completed


@jit
def run_accumulating(plan: Plan, memory: Memory, array: OracleArray, pipelined: bool) -> None:
    """Play all folds of an array that keeps partial sums.

    A fold streams once its predecessor has left the array or, ``pipelined``, as soon as the bus of
    column 0 has a slot for each of its sums (the other columns' buses are the same, later).
    """
    registers = _registers(array)
    counters = memory.counters
    count = plan.steps.shape[0]
    fold = step = completed = clock = 0
    bus_free = 0  # first cycle in which no earlier fold owns the bus of column 0
    while completed < count:
        _advance(registers.left_line)
        _advance(registers.top_line)
        may_start = False
        if fold < count:
            in_time = clock + plan.steps[fold] - 1 >= bus_free - array.early
            may_start = in_time if pipelined else completed == fold
        if fold < count and (step > 0 or may_start):
            _observe_entry(counters, clock, fold, step)
            _feed_stream(plan, registers, fold, step, counters)
            counters[TOP_READS] += _feed(
                registers.top_line, plan.top[fold, step], plan.top_words, plan.top_terms,
                registers.left_line[0, 0, 2],
            )  # fmt: skip
            step += 1
            if step == plan.steps[fold]:
                bus_free = clock + array.rows
                fold += 1
                step = 0
        elif fold < count:
            counters[WAIT_DRAIN] += 1
        completed += _accumulating_cycle(registers, plan, memory, array)
        clock += 1
    counters[DONE] = clock
