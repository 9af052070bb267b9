"""The text form of a graph: one line per input, constant, node and output; the same graph always
prints the same text, whatever file it came from."""

from __future__ import annotations

import hashlib

import numpy as np

from simulator.graph.ir import Graph
from simulator.tensor import QuantParams


def _quantization(params: QuantParams | None) -> str:
    if params is None:
        return ""
    scales = ",".join(f"{np.float32(s)!s}" for s in params.scales[:3])
    points = ",".join(str(z) for z in params.zero_points[:3])
    if not params.per_channel:
        return f" scale={scales} zero_point={points}"
    return f" scale[{len(params.scales)}@{params.axis}]={scales},.. zero_point={points},.."


def _tensor(graph: Graph, name: str) -> str:
    tensor = graph.tensors[name]
    return f'"{name}": {tensor.spec}{_quantization(tensor.quantization)}'


def print_graph(graph: Graph) -> str:
    """The graph as text; constants by shape and digest."""
    lines = [f'graph "{graph.name}" profile={graph.profile}']
    lines += [f"input  {_tensor(graph, name)}" for name in graph.inputs]
    for name, values in graph.constants.items():
        kind = "state " if name in graph.state_names else "const "
        digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()[:12]
        lines.append(f"{kind} {_tensor(graph, name)} sha256={digest}")
    for node in graph.nodes:
        inputs = ", ".join(f'"{n}"' if n else "-" for n in node.inputs)
        attrs = " ".join(f"{key}={value}".replace(" ", "") for key, value in node.attrs)
        outputs = ", ".join(_tensor(graph, n) for n in node.outputs)
        lines.append(f"{node.operator} ({inputs}) {attrs}".rstrip() + f" -> {outputs}")
    lines += [f'next   "{state.name}" = "{state.following}"' for state in graph.states]
    lines += [f'output "{name}"' for name in graph.outputs]
    return "\n".join(lines) + "\n"
