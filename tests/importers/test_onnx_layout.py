"""Images stay NHWC; operators that depend on the order of axes follow it."""

from __future__ import annotations

from onnx_models import (
    codes,
    image,
    lines,
    qdq_end,
    qdq_start,
    read,
)


def test_attention_multiplies_turned_matrices_as_they_are() -> None:
    b = qdq_start((1, 6, 8))
    b.node("Transpose", ["x_dq"], "t", perm=[0, 2, 1])
    b.qdq("t", 0.02, 120)
    b.node("MatMul", ["x_dq", "t_dq"], "y")
    assert lines(qdq_end(b, "y"))[1:-1] == [
        'batch_matmul ("x_q", "x_q") adj_x=0 adj_y=1 -> "y_q": u8[1,6,6] scale=0.03 zero_point=100'
    ]


def test_transposing_a_channels_last_input_moves_nothing() -> None:
    b = qdq_start((1, 6, 8, 4))
    b.node("Transpose", ["x_dq"], "t", perm=[0, 3, 1, 2])
    b.qdq("t", 0.02, 120)
    b.weights("w", codes(5, 4, 3, 3), 0.01)
    b.node("Conv", ["t_dq", "w_dq"], "c")
    b.qdq("c", 0.03, 100)
    b.node("Transpose", ["c_dq"], "y", perm=[0, 2, 3, 1])
    graph = read(qdq_end(b, "y"))
    assert [n.operator for n in graph.nodes] == ["quantize", "conv_2d", "dequantize"]
    assert (graph.tensors["y_dq"].spec.shape, graph.tensors["y_dq"].file_axes) == ((1, 4, 6, 5), ())


def test_layout_sensitive_operators_keep_images_as_they_are() -> None:
    b = qdq_start()
    m = image(b)
    for name, values in (("s", [1, -1]), ("e", [4, -100]), ("a", [1, 3]), ("t", [2, -2])):
        b.constant(name, values)
    b.node("Slice", [m, "s", "e", "a", "t"], "c")
    b.qdq("c", 0.02, 120)
    b.node("Concat", ["c_dq", "c_dq"], "d", axis=1)
    b.qdq("d", 0.02, 120)
    b.constant("p", [0, 1, 2, 3, 0, 4, 5, 6])
    b.node("Pad", ["d_dq", "p"], "e1")
    b.qdq("e1", 0.02, 120)
    b.constant("i", [2, 0, -1])
    b.node("Gather", ["e1_dq", "i"], "y", axis=1)
    graph = read(qdq_end(b, "y", 0.02, 120))
    shown = [(n.operator, dict(n.attrs)) for n in graph.nodes[3:-2]]
    assert shown == [
        ("strided_slice", {"begin": (0, 0, 6, 1), "end": (1, 5, -1, 5), "strides": (1, 1, -2, 2)}),
        ("concatenation", {"axis": 3, "activation": "NONE"}),
        ("pad", {}),
        ("gather", {"axis": 3, "batch_dims": 0}),
    ]
    assert graph.constants["e1/amounts"].tolist() == [[0, 0], [2, 5], [3, 6], [1, 4]]
    assert graph.constants["i"].tolist() == [2, 0, 8]
    assert graph.spec("y_q").shape == (1, 12, 13, 3)


def test_split_and_softmax_over_channels() -> None:
    b = qdq_start()
    m = image(b)
    b.constant("p", [1, 3])
    b.node("Split", [m, "p"], ["c", "d"], axis=1)
    b.qdq("c", 0.02, 120)
    b.qdq("d", 0.02, 120)
    b.node("Softmax", ["d_dq"], "y", axis=1)
    b.output("c_dq")
    graph = read(qdq_end(b, "y", 1 / 256, 0))
    split, softmax = graph.nodes[3], graph.nodes[4]
    assert (split.operator, split.outputs) == ("split", ("c_q", "d_q"))
    assert dict(split.attrs) == {"axis": 3, "sizes": (1, 3)}
    assert (softmax.operator, softmax.inputs) == ("softmax", ("d_q",))


def test_a_constant_operand_is_brought_to_the_image_layout() -> None:
    b = qdq_start()
    m = image(b)
    b.weights("k", codes(4, 1, 1), 0.01)
    b.node("Add", [m, "k_dq"], "y")
    graph = read(qdq_end(b, "y"))
    assert graph.nodes[3].inputs == ("m_q", "k_q")
    assert graph.spec("k_q").shape == (1, 1, 1, 4)


def test_shape_arithmetic_is_folded() -> None:
    b = qdq_start(("batch", 4, 6, 8))
    image(b)
    b.node("Shape", ["m_dq"], "sh")
    b.constant("zero", 0)
    b.node("Gather", ["sh", "zero"], "n")
    b.constant("axis", [0])
    b.node("Unsqueeze", ["n", "axis"], "nu")
    b.constant("rest", [-1])
    b.node("Concat", ["nu", "rest"], "target", axis=0)
    b.node("Reshape", ["m_dq", "target"], "y")
    graph = read(qdq_end(b, "y", 0.02, 120))
    assert [n.operator for n in graph.nodes][3:] == ["transpose", "reshape", "dequantize"]
    assert graph.spec("y_dq").shape == (1, 140)
