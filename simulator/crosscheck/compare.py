"""Comparison of a program's tensors with a runtime's, and the account of the first difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from simulator.datapath.explain import explain_output
from simulator.datapath.machine import Machine
from simulator.graph import Graph
from simulator.program.program import Program
from simulator.result import Difference, TensorComparison, Verification

_CHUNK = 16


class Runtime(Protocol):
    """A reference runtime with one model open."""

    version: str

    def run(self, inputs: Mapping[int, np.ndarray], wanted: list[int]) -> dict[int, np.ndarray]:
        """One inference: tensors by their number in the model file."""
        ...


@dataclass
class _Tally:
    elements: int = 0
    different: int = 0
    largest: int = 0


def random_inputs(graph: Graph, samples: int, seed: int) -> dict[str, np.ndarray]:
    """Codes drawn uniformly over each input's whole range: (samples, *shape)."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name in graph.inputs:
        spec = graph.spec(name)
        values = rng.integers(spec.minimum, spec.maximum + 1, (samples, *spec.shape))
        drawn[name] = values.astype(spec.container)
    return drawn


def compare_program(
    graph: Graph,
    program: Program,
    runtime: Runtime,
    against: str,
    samples: int,
    codes: dict[str, np.ndarray] | None,
    seed: int,
    progress: Callable[[int], object] | None,
) -> Verification:
    """Run both on the same inputs and compare every tensor that an operator makes."""
    feed = codes if codes is not None else random_inputs(graph, samples, seed)
    count = next(iter(feed.values())).shape[0]
    comparison = _Comparison(graph, program)
    for start in range(0, count, _CHUNK):
        chunk = {k: v[start : start + _CHUNK] for k, v in feed.items()}
        comparison.chunk(chunk, runtime, start)
        if progress is not None:
            progress(next(iter(chunk.values())).shape[0])
    tensors = tuple(
        TensorComparison(node.outputs[0], node.operator, t.elements, t.different, t.largest)
        for node, t in comparison.tallies
    )
    return Verification(
        graph.name, program.device.name, against, runtime.version, count, tensors,
        sum(t.different for t in tensors), comparison.first, graph.fused,
    )  # fmt: skip


class _Comparison:
    """Tallies of one comparison; lives for one call of :func:`compare_program`."""

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph, self.program = graph, program
        self.machine = Machine(program)
        self.tallies = [(node, _Tally()) for node in graph.nodes]
        self.first: Difference | None = None
        # A RESHAPE that became a second name has no command: its tensor is its source's bytes.
        self.source_of = {
            node.outputs[0]: node.inputs[0]
            for node in graph.nodes
            if node.outputs[0] not in {c.ofmap for c in program.commands}
        }

    def _ours(self, name: str, kept: Mapping[str, np.ndarray]) -> np.ndarray:
        if name in kept:
            return kept[name]
        values = self._ours(self.source_of[name], kept)
        return values.reshape(values.shape[0], *self.graph.spec(name).shape)

    def chunk(self, feed: dict[str, np.ndarray], runtime: Runtime, start: int) -> None:
        """Compare a few samples at once."""
        values = self.machine.run(feed, keep=self.graph.tensors)
        kept = {**feed, **values.tensors}
        numbers = {
            node.outputs[0]: self.graph.tensors[node.outputs[0]].index for node in self.graph.nodes
        }
        for sample in range(next(iter(feed.values())).shape[0]):
            inputs = {self.graph.tensors[n].index: v[sample] for n, v in feed.items()}
            theirs = runtime.run(inputs, list(numbers.values()))
            for node, tally in self.tallies:
                name = node.outputs[0]
                ours = self._ours(name, kept)[sample].astype(np.int64)
                reference = theirs[numbers[name]].astype(np.int64).reshape(ours.shape)
                apart = np.abs(ours - reference)
                tally.elements += apart.size
                tally.different += int((apart != 0).sum())
                tally.largest = max(tally.largest, int(apart.max()))
                if self.first is None and apart.any():
                    index = tuple(int(i) for i in np.argwhere(apart)[0])
                    self.first = self._difference(
                        start + sample, name, node.operator, index,
                        int(ours[index]), int(reference[index]), kept, sample,
                    )  # fmt: skip

    def _difference(
        self, sample: int, name: str, operator: str, index: tuple[int, ...], ours: int, theirs: int,
        kept: Mapping[str, np.ndarray], row: int,
    ) -> Difference:  # fmt: skip
        commands = [c for c in self.program.commands if c.ofmap == name]
        explanation = None
        if commands:
            operands = [self._ours(n, kept)[row] for n in commands[0].inputs]
            explanation = explain_output(self.program, commands[0], operands, index)
        return Difference(sample, name, operator, index, ours, theirs, explanation)
