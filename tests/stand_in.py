"""A stand-in for a reference runtime: our own values, some of them changed, left out or transposed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from simulator import compile
from simulator.crosscheck.sides import Simulated, file_order
from simulator.graph import Graph
from simulator.npu import exact_device

Change = Callable[[int, str, np.ndarray], np.ndarray]


class StandIn:
    """A runtime of ``graph`` in the file's order of axes.

    ``change`` gets (call, name, value) of every tensor; ``hidden`` tensors are not shown.
    """

    version = "stand-in"

    def __init__(
        self, graph: Graph, change: Change | None = None, hidden: Collection[str] = ()
    ) -> None:
        self.graph, self.change, self.hidden, self.calls = graph, change, hidden, 0
        self.ours = Simulated(compile(graph, exact_device()))
        self.asked: set[Any] = set()

    def run(self, inputs: Mapping[Any, np.ndarray], wanted: Sequence[Any]) -> dict[Any, np.ndarray]:
        tensors = self.graph.tensors
        feed = {}
        for name in self.graph.inputs:
            tensor = tensors[name]
            axes = tensor.file_axes or tuple(range(len(tensor.spec.shape)))
            assert inputs[tensor.key].shape == tuple(tensor.spec.shape[a] for a in axes)
            feed[name] = inputs[tensor.key].transpose(np.argsort(axes))[np.newaxis]
        names = [n for n in tensors if tensors[n].key in wanted and n not in self.hidden]
        self.asked |= set(wanted)
        found = {}
        change = self.change or (lambda call, name, value: value)
        for name, values in self.ours.values(feed, names).items():
            value = change(self.calls, name, values[0].copy())
            found[tensors[name].key] = file_order(value, tensors[name])
        self.calls += 1
        return found


def off_by(spoil: str, by: int, element: int = 3, after: int = 1) -> Change:
    """One element of one tensor is less by ``by`` from call ``after`` on."""

    def change(call: int, name: str, value: np.ndarray) -> np.ndarray:
        if call >= after and name == spoil:
            value = value.astype(np.int64)
            value.reshape(-1)[element] -= by
        return value

    return change
