"""Comparison of all tensors of a graph on two sides, and the account of the first difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from simulator.crosscheck.sides import NOT_COMPUTED, Side, Simulated, file_order, our_index
from simulator.datapath.explain import explain_output
from simulator.errors import CrosscheckError
from simulator.graph import Graph
from simulator.ops import node_evidence
from simulator.result import Difference, Place, TensorComparison

CODES, ULP = "codes", "ulp"
_CHUNK = 16
_CHUNK_ELEMENTS = 1 << 22  # of the largest tensor, in all samples of a chunk


def _steps(values: np.ndarray) -> np.ndarray:
    """float32 -> int64 that grows by 1 from each number to the next; +0 and -0 are two numbers."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits, -(bits & 0x7FFFFFFF) - 1)


def apart(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far each element is from its counterpart, in codes or float32 steps (uint64); NaNs are equal."""
    if ours.dtype.kind == "f":
        a, b = _steps(ours), _steps(theirs)
        b = np.where(np.isnan(ours) & np.isnan(theirs), a, b)
    else:
        a, b = ours.astype(np.int64), theirs.astype(np.int64)
    # Modulo 2**64, so that int64 codes cannot overflow.
    return np.maximum(a, b).view(np.uint64) - np.minimum(a, b).view(np.uint64)


@dataclass
class _Tally:
    """One tensor so far."""

    name: str
    node: int
    operator: str
    evidence: str
    elements: int = 0
    equal: int = 0
    off_by_one: int = 0
    largest: int = 0
    first: Place | None = None
    hidden: str = ""


@dataclass(frozen=True)
class Compared:
    """All tensors, and the first difference if there is one."""

    tensors: tuple[TensorComparison, ...]
    first: Difference | None


def compare(
    graph: Graph, ours: Simulated, other: Side, against: str, feed: Mapping[str, np.ndarray],
    progress: Callable[[int], object] | None,
) -> Compared:  # fmt: skip
    """Run both sides on ``feed`` and compare every tensor that an operator makes.

    Raises :class:`CrosscheckError` where the other side does not show all graph outputs.
    """
    count = next(iter(feed.values())).shape[0]
    comparison = _Comparison(graph, ours, other)
    largest = max(tensor.spec.elements for tensor in graph.tensors.values())
    size = max(1, min(_CHUNK, _CHUNK_ELEMENTS // largest))
    for start in range(0, count, size):
        chunk = {name: values[start : start + size] for name, values in feed.items()}
        comparison.chunk(chunk, start)
        if progress is not None:
            progress(next(iter(chunk.values())).shape[0])
    for name in graph.outputs:
        tally = comparison.tallies.get(name)
        if tally is not None and tally.hidden:
            raise CrosscheckError(
                against, f"graph output {name!r} cannot be compared: {tally.hidden}"
            )
    return Compared(comparison.result(), comparison.first)


class _Comparison:
    """Tallies of one comparison; lives for one call of :func:`compare`."""

    def __init__(self, graph: Graph, ours: Simulated, other: Side) -> None:
        self.graph, self.ours, self.other = graph, ours, other
        self.tallies = {
            name: _Tally(name, number, node.operator, node_evidence(graph, node))
            for number, node in enumerate(graph.nodes)
            for name in node.outputs
            if name
        }
        self.first: Difference | None = None

    def chunk(self, feed: dict[str, np.ndarray], start: int) -> None:
        """Compare a few samples at once."""
        # Operands of Matmuls as well, to explain the first difference.
        ours = {**feed, **self.ours.values(feed, self.tallies)}
        theirs = dict(self.other.values(feed, self.tallies))
        for name in set(theirs) & set(self.tallies):
            if self.tallies[name].operator == "dequantize":
                theirs[name] = theirs[name] + 0  # codes have one 0: -0 becomes it
        found: list[tuple[int, str]] = []
        for name, tally in self.tallies.items():
            if name not in ours or name not in theirs:
                tally.hidden = NOT_COMPUTED if name not in ours else self.other.hidden(name)
                continue
            row = self._compare(tally, ours[name], theirs[name], start)
            if row is not None:
                found.append((row, name))
        if self.first is None and found:
            # The earliest sample; of its tensors the first, since min keeps the first of equals.
            row, name = min(found, key=lambda pair: pair[0])
            self.first = self._difference(name, row, start, ours, theirs)

    def _compare(
        self, tally: _Tally, ours: np.ndarray, theirs: np.ndarray, start: int
    ) -> int | None:
        """Add a chunk to ``tally``; returns the first row that differs."""
        distance = apart(ours, theirs)
        tally.elements += distance.size
        tally.equal += int((distance == 0).sum())
        tally.off_by_one += int((distance == 1).sum())
        tally.largest = max(tally.largest, int(distance.max()))
        if not distance.any():
            return None
        row = int(np.argmax(distance.reshape(distance.shape[0], -1).any(axis=1)))
        if tally.first is None:
            tally.first = Place(start + row, self._first_index(tally.name, distance[row]))
        return row

    def _first_index(self, name: str, distance: np.ndarray) -> tuple[int, ...]:
        """Index, in the file's order, of the first element that differs in one sample."""
        in_file = file_order(distance, self.graph.tensors[name])
        return tuple(int(i) for i in np.argwhere(in_file)[0])

    def _difference(
        self, name: str, row: int, start: int, ours: Mapping[str, np.ndarray],
        theirs: Mapping[str, np.ndarray],
    ) -> Difference:  # fmt: skip
        tensor, tally = self.graph.tensors[name], self.tallies[name]
        a, b = ours[name][row], theirs[name][row]
        in_file = self._first_index(name, apart(a, b))
        index = our_index(in_file, tensor)
        explanation = None
        commands = [c for c in self.ours.program.commands if c.ofmap == name]
        if commands and all(n in ours for n in commands[0].inputs):
            operands = [ours[n][row] for n in commands[0].inputs]
            explanation = explain_output(self.ours.program, commands[0], operands, index)
        return Difference(
            start + row, name, tally.node, tally.operator, in_file,
            a[index].item(), b[index].item(), explanation,
        )  # fmt: skip

    def result(self) -> tuple[TensorComparison, ...]:
        return tuple(
            TensorComparison(
                t.name, t.operator, ULP if self.graph.spec(t.name).real else CODES, t.elements,
                t.equal, t.off_by_one, t.elements - t.equal - t.off_by_one, t.largest, t.first,
                t.evidence, t.hidden,
            )
            for t in self.tallies.values()
        )  # fmt: skip
