"""One output element of one operator in two arithmetics, from the same operands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simulator.crosscheck.account import account
from simulator.crosscheck.compare import apart
from simulator.crosscheck.sides import Side, Simulated, Values, file_order, our_index
from simulator.errors import UsageError
from simulator.graph import Graph, Node
from simulator.npu import compile, exact_device, in_profile
from simulator.result import Account, ElementExplanation


def explain_element(
    graph: Graph, sides: tuple[Simulated, Side], names: tuple[str, str],
    feed: Mapping[str, np.ndarray], where: str, index: tuple[int, ...],
) -> ElementExplanation:  # fmt: skip
    """Element ``index`` (in the file's order) of what operator ``where`` makes of the last sample.

    ``sides`` are ours and the other; ``names`` what the other is called, and its profile or ''.
    """
    number, node, name = _find(graph, where)
    tensor = graph.tensors[name]
    shape = file_order(np.empty(tensor.spec.shape, np.int8), tensor).shape
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        given = ",".join(str(i) for i in index)
        raise UsageError(
            "explain", f"index {given or 'of nothing'} in tensor {name!r}",
            ",".join(f"0..{n - 1}" for n in shape) or "an empty index, '', since it is one number",
        )  # fmt: skip
    samples = next(iter(feed.values())).shape[0]
    operands = [n for n in node.inputs if n and not graph.constant(n)]
    ours, theirs = _last(graph, sides, feed, [*operands, name])
    here = our_index(index, tensor)
    program = sides[0].program
    first = account(graph, node, program, {k: v[0] for k, v in ours.items()}, name, here)
    second = None
    if names[1]:
        second = _in_profile(graph, node, names[1], ours, name, here)
    made = operands and all(n in theirs for n in operands if n not in graph.state_names)
    different = None
    if made:
        different = sum(
            int((apart(ours[n], theirs[n]) != 0).sum()) for n in operands if n in theirs
        )
    return ElementExplanation(
        graph.name, number, node.operator, name, samples - 1, index, first, second, names[0],
        sides[1].version, theirs[name][0][here].item() if name in theirs else None, different,
    )  # fmt: skip


def _find(graph: Graph, where: str) -> tuple[int, Node, str]:
    """(number, node, output) that ``where`` names: a number, a node's name, or a tensor's."""
    for number, node in enumerate(graph.nodes):
        if where in node.outputs and where:
            return number, node, where
    for number, node in enumerate(graph.nodes):
        if where == node.name or where == str(number):
            return number, node, next(n for n in node.outputs if n)
    raise UsageError(
        "explain", f"no operator {where!r} in {graph.name}",
        f"0..{len(graph.nodes) - 1}, or a name that npusim compile --graph prints",
    )  # fmt: skip


def _last(
    graph: Graph, sides: tuple[Simulated, Side], feed: Mapping[str, np.ndarray], names: list[str]
) -> tuple[Values, Values]:
    """Both sides' tensors of the last sample, after those before it where the model remembers them.

    Of ours all that the program has.
    """
    before = {name: values[:-1] for name, values in feed.items()}
    last = {name: values[-1:] for name, values in feed.items()}
    if graph.states and next(iter(before.values())).shape[0]:
        for side in sides:
            side.values(before, [])
    remembered = sides[0].states
    ours = sides[0].values(last, sides[0].program.placements)
    # States as they were before this sample: what its operators read.
    states = {n: np.asarray(remembered[n])[np.newaxis] for n in sides[0].program.states}
    made = [n for n in names if n not in graph.inputs and n not in graph.state_names]
    return {**ours, **last, **states}, {**last, **sides[1].values(last, made)}


def _in_profile(
    graph: Graph, node: Node, profile: str, ours: Values, name: str, index: tuple[int, ...]
) -> Account:
    """The node alone in another profile, without a device's limits, on our operands."""
    inputs = tuple(dict.fromkeys(n for n in node.inputs if n and not graph.constant(n)))
    outputs = tuple(n for n in node.outputs if n)
    used = {n for n in (*node.inputs, *node.outputs) if n}
    alone = Graph(
        graph.name, graph.profile, {n: graph.tensors[n] for n in used},
        {n: graph.constants[n] for n in used if graph.constant(n)}, (node,), inputs, outputs,
    )  # fmt: skip
    alone = in_profile(alone, profile)
    side = Simulated(compile(alone, exact_device()))
    values = side.values({n: ours[n] for n in inputs}, side.program.placements)
    return account(alone, node, side.program, {k: v[0] for k, v in values.items()}, name, index)
