"""The two sides of a comparison: our datapath, and a reference runtime behind the same interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from simulator.crosscheck.runtimes import Entry, Runtime
from simulator.datapath.machine import Machine
from simulator.errors import CrosscheckError
from simulator.graph import Graph, GraphTensor
from simulator.npu import compile, exact_device, in_profile
from simulator.program.program import Program

NOT_IN_FILE = "the file has no such tensor"
NOT_SHOWN = "the runtime does not show it"
NOT_COMPUTED = "an operator makes it that our program does without"

Values = dict[str, np.ndarray]


class Side(Protocol):
    """Something that computes the tensors of a graph. States carry over from one call to the next."""

    version: str

    def values(self, feed: Mapping[str, np.ndarray], names: Iterable[str]) -> Values:
        """Tensors (samples, *our shape) by our names, in our order of axes; those not visible left out."""
        ...

    def hidden(self, name: str) -> str:
        """Why a tensor that ``values`` left out is not visible."""
        ...


def file_order(values: np.ndarray, tensor: GraphTensor) -> np.ndarray:
    """(*our shape) of one sample -> the file's order of axes."""
    return values.transpose(tensor.file_axes) if tensor.file_axes else values


def file_index(index: tuple[int, ...], tensor: GraphTensor) -> tuple[int, ...]:
    """Our index of an element -> the file's."""
    return tuple(index[axis] for axis in tensor.file_axes) if tensor.file_axes else index


def our_index(index: tuple[int, ...], tensor: GraphTensor) -> tuple[int, ...]:
    """The file's index of an element -> ours."""
    if not tensor.file_axes:
        return index
    found = [0] * len(index)
    for place, axis in zip(index, tensor.file_axes, strict=True):
        found[axis] = place
    return tuple(found)


class Simulated:
    """A program on our datapath."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.version = f"npusim, profile {program.profile} on device {program.device.name}"
        self._machine = Machine(program)
        self.states: Mapping[str, np.ndarray] = {n: program.constants[n] for n in program.states}
        self._source_of = _aliases(program)

    def values(self, feed: Mapping[str, np.ndarray], names: Iterable[str]) -> Values:
        wanted = list(names)
        keep = {self._source_of.get(name, name) for name in wanted}
        done = self._machine.run(feed, keep, self.states)
        self.states = done.states
        made = {**feed, **done.tensors}
        found: Values = {}
        for name in wanted:
            source = self._source_of.get(name, name)
            if source in made:
                shape = self.program.placements[name].spec.shape
                found[name] = made[source].reshape(-1, *shape)
        return found

    def hidden(self, name: str) -> str:
        return NOT_COMPUTED


def _aliases(program: Program) -> dict[str, str]:
    """Tensors that are another one's bytes under a second name (RESHAPE) -> that other one."""
    made = dict.fromkeys([*program.inputs, *(c.ofmap for c in program.commands)])
    at: dict[tuple[Any, ...], str] = {}
    for name in made:
        place = program.placements[name]
        at.setdefault((place.region, place.address_bytes, place.first, place.last), name)
    found = {}
    for name, place in program.placements.items():
        key = (place.region, place.address_bytes, place.first, place.last)
        if name not in made and key in at:
            found[name] = at[key]
    return found


def in_other_profile(graph: Graph, profile: str) -> Simulated:
    """``graph`` in ``profile`` on a device without limits."""
    return Simulated(compile(in_profile(graph, profile), exact_device()))


class Reference:
    """A reference runtime with the graph's file open."""

    def __init__(self, graph: Graph, entry: Entry, runtime: Runtime) -> None:
        self._graph, self._entry, self._runtime = graph, entry, runtime
        self.version = runtime.version

    def values(self, feed: Mapping[str, np.ndarray], names: Iterable[str]) -> Values:
        tensors = self._graph.tensors
        keys = {name: tensors[name].key for name in names if self._in_file(name)}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in keys}
        for sample in range(next(iter(feed.values())).shape[0]):
            inputs = {
                tensors[name].key: np.ascontiguousarray(file_order(values[sample], tensors[name]))
                for name, values in feed.items()
            }
            found = self._runtime.run(inputs, list(keys.values()))
            for name, key in keys.items():
                if key in found:
                    rows[name].append(self._ours(tensors[name], np.asarray(found[key])))
        return {name: np.stack(values) for name, values in rows.items() if values}

    def _ours(self, tensor: GraphTensor, values: np.ndarray) -> np.ndarray:
        """A value of the runtime in our order of axes."""
        shape = tensor.spec.shape
        axes = tensor.file_axes or tuple(range(len(shape)))
        if values.dtype.kind == "f" and not tensor.spec.real:
            values = self._codes(tensor, values)
        if values.size != tensor.spec.elements or tensor.spec.real != (values.dtype.kind == "f"):
            raise CrosscheckError(
                self._entry.name,
                f"tensor {tensor.name!r} is {values.dtype}{list(values.shape)} there",
                str(tensor.spec),
            )
        in_file = values.reshape([shape[axis] for axis in axes])
        return in_file.transpose(np.argsort(axes)) if axes else in_file

    def _codes(self, tensor: GraphTensor, values: np.ndarray) -> np.ndarray:
        """Codes of a tensor that the runtime holds as the float32 numbers they stand for."""
        params = self._graph.quantization(tensor.name)
        scale, point = np.float32(params.scale), params.zero_point
        codes = np.rint(values / scale).astype(np.int64) + point
        if ((codes - point).astype(np.float32) * scale != values).any():
            raise CrosscheckError(
                self._entry.name, f"tensor {tensor.name!r} has numbers there that are no codes",
                f"multiples of {scale}",
            )  # fmt: skip
        return codes

    def _in_file(self, name: str) -> bool:
        return self._graph.tensors[name].key != ""

    def hidden(self, name: str) -> str:
        return NOT_SHOWN if self._in_file(name) else NOT_IN_FILE
