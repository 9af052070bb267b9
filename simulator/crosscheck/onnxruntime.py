"""ONNX Runtime as a reference: what its session computes, and the tensors within as the session has them.

Asking a session for a tensor within the graph would keep it from joining the operators around it, and so
change the codes. The model is therefore optimized first, as a session does it, and the optimized model is
run as it stands with further outputs. ONNX Runtime computes int8 codes as uint8 ones, 128 higher, where
it can: those are turned back. It also moves Transpose nodes past others: what lies between with its axes in
another order, or may, is not shown.

The kernels follow the processor: x86 without VNNI saturates sums of two products of unsigned by signed
8-bit codes (:func:`pairs_saturate`), and Arm adds and averages in integers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import CrosscheckError, ModelError

_BETWEEN = ("Relu", "Clip")
_MOST_ORDERS = 100  # of axes: all of four, most of five


@cache
def pairs_saturate() -> bool:
    """Whether products of uint8 by int8 are summed two by two in 16 bits that saturate.

    ONNX Runtime does so on x86 processors without VNNI: sums of large weights are wrong there.
    """
    import onnx
    import onnxruntime

    helper, kinds, depth = onnx.helper, onnx.TensorProto, 64
    weights = onnx.numpy_helper.from_array(np.full((depth, 1), 127, np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "pairs",
        [helper.make_tensor_value_info("x", kinds.UINT8, [1, depth])],
        [helper.make_tensor_value_info("y", kinds.INT32, [1, 1])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.full((1, depth), 255, np.uint8)})
    return int(np.asarray(found).item()) != depth * 255 * 127


class OnnxRuntime:
    """One model in ONNX Runtime: a session as users have it, and one that shows what is in it."""

    def __init__(self, path: Path, optimize: bool = True) -> None:
        if path.suffix.lower() != ".onnx":
            raise ModelError(str(path), "ONNX Runtime runs ONNX files only", ".onnx")
        try:
            import onnx
            import onnxruntime
        except ImportError as error:
            raise CrosscheckError(
                "onnxruntime",
                f"the package {error.name} is not installed",
                "pip install 'npusim[verify]'",
            ) from None
        level = "ORT_ENABLE_ALL" if optimize else "ORT_DISABLE_ALL"
        known = "CPU without VNNI (sums of uint8 by int8 saturate)" if pairs_saturate() else "CPU"
        self.version = f"onnxruntime {version('onnxruntime')}, {known}, {level}"
        self._runtime: Any = onnxruntime
        self._name = path.name
        try:
            model: Any = onnx.load_model_from_string(path.read_bytes())
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}") from None
        except Exception as error:
            # Decoding errors have no base of their own but Exception.
            raise self._refused(error) from None
        self._made = {name for node in model.graph.node for name in node.output} - {""}
        self._outputs = [value.name for value in model.graph.output]
        self._session = self._open(model, level)
        self._shown = self._optimized(onnx, model) if optimize else model
        self._places = _places(model, self._shown)
        self._orders = _orders(model)
        self._shapes = self._stated_shapes(model)
        self._inside: dict[tuple[str, ...], Any] = {}

    def _refused(self, error: Exception) -> CrosscheckError:
        return CrosscheckError("onnxruntime", f"refuses {self._name}: {error}")

    def _open(self, model: Any, level: str, written: str = "") -> Any:
        """A session of ``model``; ``written``: where it leaves the optimized one."""
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(self._runtime.GraphOptimizationLevel, level)
        if written:
            options.optimized_model_filepath = written
        try:
            return self._runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors have no base but Exception
            raise self._refused(error) from None

    def _optimized(self, onnx: Any, model: Any) -> Any:
        """``model`` as the runtime optimizes it, layouts left as they are; nodes keep their names."""
        for number, node in enumerate(model.graph.node):
            node.name = f"node {number}"
        with tempfile.TemporaryDirectory() as folder:
            written = str(Path(folder) / "optimized.onnx")
            self._open(model, "ORT_ENABLE_EXTENDED", written)
            return onnx.load_model(written)

    def run(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """One inference: tensors by their name in the file, the inputs among them.

        Left out are those that the optimized model has no more.
        """
        for name in wanted:
            if name not in self._made and name not in inputs:
                raise CrosscheckError("onnxruntime", f"{self._name} makes no tensor {name!r}")
        inside = [n for n in dict.fromkeys(wanted) if n not in inputs and n not in self._outputs]
        values = self._run(self._session, inputs, self._outputs)
        if any(name in self._places for name in inside):
            values |= self._values_inside(inputs, inside, values)
        return {**inputs, **{n: values[n] for n in dict.fromkeys(wanted) if n in values}}

    def _values_inside(
        self, inputs: Mapping[str, np.ndarray], names: Sequence[str], made: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Tensors within the graph; none where the graph's outputs are not what the users' session made."""
        there = {name: self._places[name] for name in names if name in self._places}
        found = self._run(
            self._showing(tuple(there.values())), inputs, [*self._outputs, *there.values()]
        )
        if any(found[name].tobytes() != made[name].tobytes() for name in self._outputs):
            return {}
        turned = {name: _turned(name, place, found[place]) for name, place in there.items()}
        return {
            name: values
            for name, values in turned.items()
            if values is not None and self._in_file_order(name, values.shape)
        }

    def _stated_shapes(self, model: Any) -> dict[str, list[Any]]:
        """Shapes in the file of the tensors that have another name in the optimized model; none where
        nothing transposes."""
        renamed = [name for name, place in self._places.items() if name != place]
        if not self._orders or not renamed:
            return {}
        session = self._open(_with_outputs(model, renamed), "ORT_DISABLE_ALL")
        return {value.name: value.shape for value in session.get_outputs()}

    def _in_file_order(self, name: str, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of another name certainly has the axes of the file's."""
        if name not in self._shapes:
            return True
        stated = self._shapes[name]
        known = [s if isinstance(s, int) else size for s, size in zip(stated, shape, strict=False)]
        if len(stated) != len(shape) or known != list(shape):
            return False
        others = [o for o in self._orders if len(o) == len(shape) and o != tuple(range(len(o)))]
        return all(tuple(shape[i] for i in order) != shape for order in others)

    def _showing(self, names: tuple[str, ...]) -> Any:
        """The optimized model, run as it stands, with ``names`` as further outputs."""
        if names not in self._inside:
            self._inside[names] = self._open(_with_outputs(self._shown, names), "ORT_DISABLE_ALL")
        return self._inside[names]

    def _run(
        self, session: Any, inputs: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> dict[str, np.ndarray]:
        wanted = list(dict.fromkeys(names))
        try:
            return dict(zip(wanted, session.run(wanted, dict(inputs)), strict=True))
        except Exception as error:  # as above
            raise CrosscheckError("onnxruntime", f"stopped: {error}") from None


def _with_outputs(model: Any, names: Sequence[str]) -> Any:
    """``model`` with ``names`` among its outputs."""
    found = type(model)()
    found.CopyFrom(model)
    there = {value.name for value in found.graph.output}
    for name in dict.fromkeys(names):
        if name not in there:
            found.graph.output.add().name = name  # the runtime infers its type
    return found


def _orders(model: Any) -> set[tuple[int, ...]]:
    """Orders of axes that the Transpose nodes of a model make, one after the other or back."""
    stated = [a.ints for n in model.graph.node if n.op_type == "Transpose" for a in n.attribute]
    found = {tuple(int(i) for i in order) for order in stated}
    found |= {tuple(int(i) for i in np.argsort(order)) for order in found}
    while True:
        pairs = [(a, b) for a in found for b in found if len(a) == len(b)]
        more = {tuple(a[i] for i in b) for a, b in pairs} - found
        if not more or len(found) > _MOST_ORDERS:
            return found
        found |= more


def _places(model: Any, shown: Any) -> dict[str, str]:
    """Tensors of the file -> their names in the optimized model, where it has them.

    Codes that it computes as uint8 have a new name there: they are the output of the node that has the
    name of their QuantizeLinear, or of the operator before it.
    """
    there = {name for node in shown.graph.node for name in node.output}
    uses = Counter(node.name for node in shown.graph.node)
    by_node = {n.name: n.output[0] for n in shown.graph.node if n.name and uses[n.name] == 1}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for name, maker in makers.items():
        if name in there:
            found[name] = name
        elif maker.op_type == "QuantizeLinear":
            node = maker
            while node is not None and node.name not in by_node:
                follows = node.op_type in (*_BETWEEN, "QuantizeLinear") and len(node.input) > 0
                node = makers.get(node.input[0]) if follows else None
            if node is not None:
                found[name] = by_node[node.name]
    return found


def _turned(name: str, place: str, values: np.ndarray) -> np.ndarray | None:
    """int8 codes from uint8 ones of another name; None where that is a number not yet quantized."""
    if name == place:
        return values
    if values.dtype.kind == "f":
        return None
    return (values ^ np.uint8(128)).view(np.int8) if values.dtype == np.uint8 else values


def open_runtime(path: Path, optimize: bool = True) -> OnnxRuntime:
    """``path`` in a fresh session, as users run it or (not ``optimize``) node by node."""
    return OnnxRuntime(path, optimize)
