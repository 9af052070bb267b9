"""Each rule of the recurrent operators, broken once: refused with the rule, never with a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from layers_recurrent import RELU
from oracles.lstm_model import Shape, lstm_parts, random_lstm
from tflite_builder import Op, Tensor, build_model

from simulator.errors import ModelError
from simulator.importers.tflite import read_tflite

NONE, TANH = 0, 4
Parts = tuple[dict[str, Tensor], Op]
Change = Callable[[dict[str, Tensor], Op], Op | None]


def refused(parts: Parts) -> str:
    tensors, op = parts
    used = {name for name in (*op.inputs, op.output, *op.intermediates) if name}
    content = build_model([t for n, t in tensors.items() if n in used], [op], ["x"], ["y"])
    with pytest.raises(ModelError) as caught:
        read_tflite(content, "refused")
    assert op.kind in str(caught.value)
    return str(caught.value)


def lstm(**parts: Any) -> Parts:
    shape = Shape(**{"inputs": 3, "cells": 4, "outputs": 4, **parts})
    tensors, op = lstm_parts(random_lstm(np.random.default_rng(0), shape, -12), shape)
    return {t.name: t for t in tensors}, op


def tensor(name: str, **changes: Any) -> Change:
    """Tensor ``name`` with these fields; data may be a shape and type to fill with ones."""

    def change(tensors: dict[str, Tensor], op: Op) -> None:
        tensors[name] = replace(tensors[name], **changes)

    return change


def ones(name: str, dtype: type, *shape: int) -> Change:
    codes = {np.int8: "i8", np.int16: "i16", np.int32: "i32"}[dtype]
    return tensor(name, shape=shape, dtype=codes, data=np.ones(shape, dtype))


def without(*places: int) -> Change:
    def change(tensors: dict[str, Tensor], op: Op) -> Op:
        return replace(op, inputs=["" if i in places else n for i, n in enumerate(op.inputs)])

    return change


def options(**values: Any) -> Change:
    return lambda tensors, op: replace(op, options={**op.options, **values})


def few_intermediates(tensors: dict[str, Tensor], op: Op) -> Op:
    return replace(op, intermediates=op.intermediates[:3])


LSTM: dict[str, tuple[dict[str, Any], Change, str]] = {
    "of uint8": ({}, tensor("x", dtype="u8", zero_point=0), "input and output are int8"),
    "without tanh": ({}, options(FusedActivationFunction=NONE), "the fused activation is TANH"),
    "diagonal": ({}, options(DiagonalRecurrentTensors=True), "whole matrices"),
    "half a gate": ({}, without(1), "all four gates, or all but the input gate"),
    "no cell gate": ({}, without(3, 7, 14), "all four gates"),
    "16-bit weights": ({}, ones("w2", np.int16, 4, 3), "weights of the gates are int8"),
    "asymmetric weights": ({}, tensor("w3", zero_point=1), "zero point 0, cells x inputs"),
    "narrow weights": ({}, ones("w4", np.int8, 4, 2), "cells x inputs"),
    "no bias": ({}, without(13), "every gate has a bias"),
    "a short bias": ({}, ones("w12", np.int32, 3), "one number per cell"),
    "one peephole": ({"peephole": True}, without(9), "all gates but the cell gate or for none"),
    "batches that look": (
        {"peephole": True, "projection": True, "outputs": 3, "batch": 2}, without(),
        "or fewer and a batch of one",
    ),
    "three norms": ({"norm": True}, without(22), "for all gates or for none"),
    "a projection of 16 bits": ({"projection": True}, ones("w16", np.int16, 4, 4), "the projection"),
    "a bias of no projection": (
        {"projection": True}, without(16), "without one there are as many outputs as cells"
    ),
    "no scale of the hidden state": ({}, few_intermediates, "five intermediate tensors"),
    "a hidden scale of nothing": ({}, tensor("hidden", scale=1e-30), "five intermediate tensors"),
    "a cell scale that is no power of two": ({}, tensor("cell", scale=0.3e-3), "a power of two"),
    "a cell state with a zero point": ({}, tensor("cell", zero_point=3), "of zero point 0"),
    "a state of another scale": ({}, tensor("state", scale=0.5), "quantized like the output"),
    "a state that is none": (
        {}, tensor("cell", variable=False, data=np.zeros((1, 4), np.int16)), "are variables"
    ),
    "a negative clip": ({}, options(CellClip=-1.0), "cell_clip = -1.0; allowed: finite"),
}  # fmt: skip


@pytest.mark.parametrize("case", LSTM)
def test_lstm_refused_with_the_rule(case: str) -> None:
    parts, change, rule = LSTM[case]
    tensors, op = lstm(**parts)
    op = change(tensors, op) or op
    assert rule in " ".join(refused((tensors, op)).split())


def svdf() -> Parts:
    tensors = [
        Tensor("x", (1, 3), "i8", 0.1), Tensor("f", (4, 3), "i8", 0.1, 0, np.ones((4, 3), np.int8)),
        Tensor("t", (4, 2), "i16", 1e-4, 0, np.ones((4, 2), np.int16)),
        Tensor("b", (2,), "i32", 1e-4, 0, np.ones(2, np.int32)),
        Tensor("s", (1, 8), "i16", 1e-3, 0, variable=True), Tensor("y", (1, 2), "i8", 0.1),
    ]  # fmt: skip
    op = Op("SVDF", ["x", "f", "t", "b", "s"], "y", {"Rank": 2, "FusedActivationFunction": RELU})
    return {t.name: t for t in tensors}, op


SVDF: dict[str, tuple[Change, str]] = {
    "a memory of 8 bits": (ones("t", np.int8, 4, 2), "the weights over time and the state int16"),
    "asymmetric features": (tensor("f", zero_point=1), "weights and state zero point 0"),
    "without relu": (options(FusedActivationFunction=NONE), "the fused activation is RELU"),
    "a rank that does not fit": (options(Rank=3), "a multiple of the rank"),
    "a rank of nothing": (options(Rank=0), "rank = 0"),
    "more features than filters": (ones("f", np.int8, 6, 3), "filters x inputs"),
    "a long bias": (ones("b", np.int32, 4), "one number per unit"),
    "a short state": (tensor("s", shape=(1, 6)), "batch x (filters times memory)"),
    "a state that is none": (
        tensor("s", variable=False, data=np.zeros((1, 8), np.int16)), "the state is a variable"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SVDF)
def test_svdf_refused_with_the_rule(case: str) -> None:
    change, rule = SVDF[case]
    tensors, op = svdf()
    op = change(tensors, op) or op
    assert rule in " ".join(refused((tensors, op)).split())


def test_what_is_not_broken_is_read() -> None:
    for tensors, op in (svdf(), lstm(), lstm(peephole=True, norm=True, projection=True, cifg=True)):
        content = build_model(list(tensors.values()), [op], ["x"], ["y"])
        assert len(read_tflite(content, "read").states) == len(op.inputs) // 20 + 1
