"""Damaged ``.onnx`` files: whatever happens to the bytes, reading ends well or in a ModelError."""

from __future__ import annotations

import random
from collections import Counter

import onnx
import pytest
from onnx_builder import OnnxBuilder
from onnx_models import PAIRS, qdq_end, qdq_start, read

from simulator.errors import ModelError

FILES = [make() for pair in PAIRS.values() for make in pair]
EXTREMES = (0, 1, -1, 3, 255, 2**31 - 1, -(2**31), 2**62, -(2**63), 1 << 28)
OTHERS = ("Conv", "MatMul", "Reshape", "Tile", "Expand", "Range", "Loop", "Slice", "Pad", "Relu")


def outcome(content: bytes) -> str:
    """``reads`` or ``refused``; anything but a ModelError passes through."""
    try:
        read(content)
    except ModelError:
        return "refused"
    return "reads"


@pytest.mark.parametrize("seed", range(2))
def test_flipped_bits_and_replaced_bytes(seed: int) -> None:
    rng, seen = random.Random(seed), Counter[str]()
    for _ in range(300):
        content = bytearray(rng.choice(FILES))
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            place = rng.randrange(len(content))
            if rng.random() < 0.5:
                content[place] ^= 1 << rng.randrange(8)
            else:
                content[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        seen[outcome(bytes(content))] += 1
    assert seen["reads"] > 10
    assert seen["refused"] > 10


def _change(model: onnx.ModelProto, rng: random.Random) -> None:
    """One field of a sound file made senseless."""
    graph = model.graph
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    names = [o for n in graph.node for o in n.output] + [t.name for t in graph.initializer]
    kind = rng.randrange(8)
    if kind < 2 and not node.input:
        node.Clear()
    elif kind == 0:
        node.input[rng.randrange(len(node.input))] = rng.choice(["", *names])
    elif kind == 1:
        del node.input[rng.randrange(len(node.input)) :]
    elif kind == 2:
        node.op_type = rng.choice((*OTHERS, rng.choice(graph.node).op_type))
    elif kind == 3:
        tensor.dims.append(rng.choice(EXTREMES))
    elif kind == 4:
        tensor.data_type = rng.randrange(30)
    elif kind == 5:
        sizes = graph.input[0].type.tensor_type.shape.dim
        sizes[rng.randrange(len(sizes))].dim_value = rng.choice(EXTREMES)
    elif kind == 6:
        key = rng.choice(("axis", "pads", "group", "perm", "block_size", "strides", "alpha"))
        value = rng.choice((rng.choice(EXTREMES), [rng.choice(EXTREMES)] * 4, 0.5, "text"))
        node.attribute.append(onnx.helper.make_attribute(key, value))
    else:
        model.opset_import[0].version = rng.choice((7, 9, 10, 13, 18, 23, 99))


@pytest.mark.parametrize("seed", range(2))
def test_senseless_fields(seed: int) -> None:
    rng, seen = random.Random(seed), Counter[str]()
    for _ in range(300):
        model = onnx.load_model_from_string(rng.choice(FILES))
        for _ in range(rng.choice((1, 1, 2, 4))):
            _change(model, rng)
        seen[outcome(model.SerializeToString())] += 1
    assert seen["reads"] > 10
    assert seen["refused"] > 100


def test_cut_off_anywhere() -> None:
    rng = random.Random(0)
    for content in FILES[:4]:
        for length in (*range(20), *(rng.randrange(len(content)) for _ in range(30))):
            assert outcome(content[:length]) == "refused", length


def test_noise() -> None:
    rng = random.Random(0)
    for size in (1, 10, 1000, 100_000):
        for _ in range(10):
            assert outcome(rng.randbytes(size)) == "refused"


@pytest.mark.parametrize(
    ("operator", "inputs", "attrs"),
    [
        ("Expand", {"a": [1.0], "b": [1 << 14, 1 << 14]}, {}),
        ("Tile", {"a": [[1.0]], "b": [1 << 20, 1 << 7]}, {}),
        ("ConstantOfShape", {"b": [1 << 27]}, {}),
        ("Range", {"a": 0, "b": 1 << 40, "c": 1}, {}),
    ],
)
def test_a_small_file_makes_no_large_constant(operator: str, inputs: dict, attrs: dict) -> None:
    b = qdq_start()
    for name, value in inputs.items():
        b.constant(name, value)
    b.node(operator, list(inputs), "big", **attrs)
    b.node("Add", ["x_dq", "big"], "y")
    with pytest.raises(ModelError, match=r"bytes of memory to read so far|elements"):
        read(qdq_end(b, "y"))


def test_many_nodes_together_make_no_large_constant() -> None:
    b = OnnxBuilder(21)
    b.input("x", (1,))
    b.constant("shape", [1 << 22])
    last = "x"
    for i in range(17):
        b.node("ConstantOfShape", ["shape"], f"c{i}")
    b.output(b.node("Relu", [last], "y"))
    with pytest.raises(ModelError, match=r"bytes of memory to read so far; allowed: "):
        read(b.write())
