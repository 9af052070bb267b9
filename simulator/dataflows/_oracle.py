"""The array PE by PE and cycle by cycle: the oracle that the dataflows' laws are tested against.

Nothing here knows a law. Every clock cycle each register takes its neighbour's old content, a small
controller decides from what it sees which operand row may enter, and every number reported is
counted while that happens. The caller says how many groups share a fold (``OracleArray.packed``).

The machine: operand rows enter at the left edge, row i delayed i cycles by a skew line, and move
one PE to the right per cycle. From the top comes the stationary operand (weight and input
stationary; one row per cycle, moving down to its own row) or the second streamed operand (output
stationary); column j is delayed j cycles. A wavefront crosses the whole array, also the rows and
columns that a partial fold leaves idle. Behind the array an accumulator memory, starting at the
bias, adds every fold's result. Every addition, in a PE or in the memory, wraps or saturates.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from simulator.dataflows import _oracle_array as _array
from simulator.dataflows._oracle_array import IDLE, ZERO, Ints, Memory, OracleArray, Plan
from simulator.jit import jit

__all__ = ["Operands", "OracleArray", "OracleRun", "simulate_folds"]


class Operands(NamedTuple):
    """int64 words: ``ifmap`` (groups, m, k), ``weights`` (groups, k, n), ``bias`` (groups, n)."""

    ifmap: Ints
    weights: Ints
    bias: Ints


class OracleRun(NamedTuple):
    """What was observed; cycles are counted from the first cycle, values are (groups, m, n) int64.

    ``entry``: cycle in which the first operand row enters; ``last_entry``: the last fold's first;
    ``stream_end``: one past the last operand row; ``done``: one past the cycle in which the last
    wavefront is in the last PE. From ``entry`` to ``stream_end`` every cycle sees an operand row
    ``entered``, or waits for a load, or for the array to drain. ``bus_peak``: most PEs of one
    column that give a sum in one cycle (output stationary). ``hazards``: registers overwritten or
    used at the wrong time.
    """

    values: Ints
    entry: int
    last_entry: int
    stream_end: int
    done: int
    entered: int
    wait_load: int
    wait_drain: int
    mac_count: int
    ifmap_reads: int
    weight_reads: int
    psum_reads: int
    psum_writes: int
    pe_cycles: int
    bus_peak: int
    hazards: int


@jit
def _plan_weight_stationary(
    folds: Ints, array: OracleArray, shape: tuple[int, int, int], plan: Plan
) -> None:
    """Fill ``plan``; a fold is (first group, groups, first k, first n) of the stacked product."""
    m, k, n = shape
    for f in range(folds.shape[0]):
        group, count, k0, n0 = folds[f, 0], folds[f, 1], folds[f, 2], folds[f, 3]
        plan.steps[f] = m
        for j in range(min(array.cols, count * n - n0)):
            g, channel = group + (n0 + j) // n, (n0 + j) % n
            for r in range(m):
                plan.out[f, r, j] = (g * m + r) * n + channel
        for i in range(min(array.rows, count * k - k0)):
            g, depth = group + (k0 + i) // k, (k0 + i) % k
            for r in range(m):
                plan.left[f, r, i] = (g * m + r) * k + depth
            for j in range(min(array.cols, count * n - n0)):
                same = g == group + (n0 + j) // n
                plan.top[f, i, j] = (g * k + depth) * n + (n0 + j) % n if same else ZERO


@jit
def _plan_input_stationary(
    folds: Ints, array: OracleArray, shape: tuple[int, int, int], plan: Plan
) -> None:
    """Fill ``plan``; a fold is (first group, groups, first k, first m); groups stream in turn."""
    m, k, n = shape
    for f in range(folds.shape[0]):
        group, count, k0, m0 = folds[f, 0], folds[f, 1], folds[f, 2], folds[f, 3]
        plan.steps[f] = count * n
        for s in range(count * n):
            for j in range(min(array.cols, m - m0)):
                plan.out[f, s, j] = ((group + s // n) * m + m0 + j) * n + s % n
        for i in range(min(array.rows, count * k - k0)):
            g, depth = group + (k0 + i) // k, (k0 + i) % k
            for j in range(min(array.cols, m - m0)):
                plan.top[f, i, j] = (g * m + m0 + j) * k + depth
            for s in range(count * n):
                same = g == group + s // n
                plan.left[f, s, i] = (g * k + depth) * n + s % n if same else ZERO


@jit
def _plan_output_stationary(
    folds: Ints, array: OracleArray, shape: tuple[int, int, int], plan: Plan
) -> None:
    """Fill ``plan``; a fold is (first group, groups, first m, first n); groups stream in turn."""
    m, k, n = shape
    for f in range(folds.shape[0]):
        group, count, m0, n0 = folds[f, 0], folds[f, 1], folds[f, 2], folds[f, 3]
        plan.steps[f] = count * k
        for s in range(count * k):
            g, depth = group + s // k, s % k
            for i in range(min(array.rows, m - m0)):
                plan.left[f, s, i] = (g * m + m0 + i) * k + depth
            for j in range(min(array.cols, count * n - n0)):
                same = g == group + (n0 + j) // n
                plan.top[f, s, j] = (g * k + depth) * n + (n0 + j) % n if same else ZERO
        for j in range(min(array.cols, count * n - n0)):
            for i in range(min(array.rows, m - m0)):
                g = group + (n0 + j) // n
                plan.out[f, i, j] = (g * m + m0 + i) * n + (n0 + j) % n


def _bundles(groups: int, packed: int) -> list[tuple[int, int]]:
    """(first group, groups) of every set of groups that shares folds."""
    return [(g, min(packed, groups - g)) for g in range(0, groups, packed)]


def _list_folds(
    dataflow: int, shape: tuple[int, int, int], groups: int, array: OracleArray
) -> list[tuple[int, int, int, int]]:
    """The folds in the order they are played; those of one output follow the order of k."""
    m, k, n = shape
    rows, cols = array.rows, array.cols
    folds: list[tuple[int, int, int, int]] = []
    for g, count in _bundles(groups, array.packed):
        if dataflow == 0:
            starts = product(range(0, count * n, cols), range(0, count * k, rows))
            folds += [(g, count, k0, n0) for n0, k0 in starts]
        elif dataflow == 1:
            starts = product(range(0, m, rows), range(0, count * n, cols))
            folds += [(g, count, m0, n0) for m0, n0 in starts]
        else:
            starts = product(range(0, m, cols), range(0, count * k, rows))
            folds += [(g, count, k0, m0) for m0, k0 in starts]
    return folds


def _words(operand: Ints, axis: int, terms: int) -> tuple[Ints, Ints]:
    """``operand`` with neighbours along ``axis`` as words: (words, terms) and how many each holds."""
    k = operand.shape[axis]
    filled = np.moveaxis(operand, axis, -1)
    there = np.ones(filled.shape, np.int64)
    pad = [(0, 0)] * (operand.ndim - 1) + [(0, -k % terms)]
    found = []
    for values in (filled, there):
        parts = np.pad(values, pad).reshape(*filled.shape[:-1], -1, terms)
        found.append(np.moveaxis(parts, -2, axis).reshape(-1, terms))
    return np.ascontiguousarray(found[0]), found[1].sum(axis=1)


def _make_plan(dataflow: int, operands: Operands, array: OracleArray) -> Plan:
    groups, m, k = operands.ifmap.shape
    k = -(-k // array.terms)
    n = operands.weights.shape[2]
    folds = _list_folds(dataflow, (m, k, n), groups, array)
    count = len(folds)
    longest = (m, array.packed * k, array.packed * n)[dataflow]
    ifmap, weights = (
        _words(operands.ifmap, 2, array.terms),
        _words(operands.weights, 1, array.terms),
    )
    held = dataflow != 1
    left, top = (weights, ifmap) if dataflow == 2 else (ifmap, weights)
    plan = Plan(
        np.zeros(count, np.int64),
        np.full((count, longest, array.rows), IDLE, np.int64),
        np.full((count, array.rows if held else longest, array.cols), IDLE, np.int64),
        np.full((count, longest if held else array.rows, array.cols), IDLE, np.int64),
        left[0], top[0], left[1], top[1],
    )  # fmt: skip
    fill = (_plan_weight_stationary, _plan_output_stationary, _plan_input_stationary)[dataflow]
    fill(np.array(folds, np.int64), array, (m, k, n), plan)
    return plan


def simulate_folds(
    dataflow: int, overlap: int, operands: Operands, array: OracleArray, first_k: bool = True
) -> OracleRun:
    """Play one grouped product on the array.

    ``dataflow``: 0 weight, 1 output, 2 input stationary. ``overlap``: 0 serial, 1 pipelined.
    ``first_k``: the accumulator memory starts at the bias; else ``bias`` stands for partial sums
    that an earlier tile left there, and reading them counts.
    """
    if dataflow not in (0, 1, 2) or overlap not in (0, 1):
        raise ValueError(f"dataflow {dataflow}, overlap {overlap}: expected 0..2 and 0..1")
    groups, m, _ = operands.ifmap.shape
    n = operands.weights.shape[2]
    values = np.repeat(operands.bias[:, None, :], m, axis=1)
    written = np.full(values.size, 0 if first_k else 1, np.int64)
    memory = Memory(values.reshape(-1), written, np.zeros(_array.COUNTERS, np.int64))
    play = _array.run_accumulating if dataflow == 1 else _array.run_stationary
    play(_make_plan(dataflow, operands, array), memory, array, overlap == 1)
    seen = [int(count) for count in memory.counters]
    left, top = seen[_array.LEFT_READS], seen[_array.TOP_READS]
    return OracleRun(
        values=memory.values.reshape(groups, m, n),
        entry=seen[_array.ENTRY],
        last_entry=seen[_array.LAST_ENTRY],
        stream_end=seen[_array.STREAM_END],
        done=seen[_array.DONE],
        entered=seen[_array.ENTERED],
        wait_load=seen[_array.WAIT_LOAD],
        wait_drain=seen[_array.WAIT_DRAIN],
        mac_count=seen[_array.MACS],
        ifmap_reads=top if dataflow == 2 else left,
        weight_reads=left if dataflow == 2 else top,
        psum_reads=seen[_array.PSUM_READS],
        psum_writes=seen[_array.PSUM_WRITES],
        pe_cycles=seen[_array.PE_CYCLES],
        bus_peak=seen[_array.BUS_PEAK],
        hazards=seen[_array.HAZARDS],
    )
