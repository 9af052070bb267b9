"""An LSTM by definition: plain integers, one element at a time, independent of the kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.graph import Graph, Node
from simulator.ops import _lstm as lstm
from simulator.ops._common import round_half_away

_ONE = 32767  # what stands for 1 in Q0.15
# exp(-2**k), k = -2 .. 4, in Q0.15.
_FACTORS = (25520, 19875, 12055, 4435, 600, 11, 0)
_PEEPHOLE_LANES = 16
F32 = np.float32


def _clamp(value: int, bits: int) -> int:
    return min(max(value, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def _wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def _toward_zero(value: int, divisor: int) -> int:
    return value // divisor if value >= 0 else -(-value // divisor)


def _divide(value: int, exponent: int) -> int:
    """value / 2**exponent, ties away from zero."""
    return _toward_zero(
        2 * value + (2**exponent if value >= 0 else -(2**exponent)), 2 ** (exponent + 1)
    )


def _high(a: int, b: int, bits: int = 16) -> int:
    """2ab / 2**bits to nearest, ties up; the one product that does not fit saturates."""
    return _clamp((a * b + 2 ** (bits - 2)) // 2 ** (bits - 1), bits)


def _multiplier(real: float) -> tuple[int, int]:
    """``real`` as a multiplier of 31 bits and a shift."""
    fraction, shift = np.frexp(float(real))
    multiplier, shift = round_half_away(float(fraction) * 2.0**31), int(shift)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    return (multiplier, shift) if shift >= -31 else (0, 0)


def _scaled(value: int, by: tuple[int, int], ties_up: bool = False) -> int:
    """``value`` in double rounding; ``ties_up``: both roundings send ties up."""
    multiplier, shift = by
    high = _high(_wrap(value * 2 ** max(shift, 0)), multiplier, 32)
    right = max(-shift, 0)
    return (high + 2**right // 2) // 2**right if ties_up else _divide(high, right)


def _exp(a: int, integer_bits: int) -> int:
    """exp(a) in Q0.15 of a <= 0 in 16 bits, ``integer_bits`` of them before the point."""
    if a == 0:
        return _ONE
    fraction_bits = 15 - integer_bits
    quarter = 2 ** (fraction_bits - 2)
    rest = a % quarter - quarter
    x = _clamp(rest * 2**integer_bits, 16) + 4096
    x2 = _high(x, x)
    x3, x4 = _high(x2, x), _high(x2, x2)
    series = x + _divide(_high(_divide(x4, 2) + x3, 10923) + x2, 1)  # 10923: 1/3
    value = _clamp(28918 + _high(28918, series), 16)  # 28918: exp(-1/8)
    for k, factor in enumerate(_FACTORS):
        if (rest - a) // quarter >> k & 1:
            value = _high(value, factor)
    return 0 if integer_bits > 5 and a < -32 * 2**fraction_bits else value


def _reciprocal(a: int) -> int:
    """2 / (1 + a) in Q2.13 of a in Q0.15: three Newton steps."""
    half = (a + _ONE + 1) // 2
    x = 23130 + _high(half, -15420)  # 48/17 - 32/17 half
    for _ in range(3):
        x += _clamp(_high(x, 8192 - _high(half, x)) * 4, 16)
        x = (x + 2**15) % 2**16 - 2**15
    return x


def _logistic(a: int) -> int:
    """Logistic function of Q3.12 in Q0.15."""
    if a == 0:
        return 16384
    positive = _clamp(_reciprocal(_exp(-abs(a), 3)) * 2, 16)
    return positive if a > 0 else _ONE - positive


def _tanh(a: int, integer_bits: int) -> int:
    if a == 0:
        return 0
    positive = _clamp((_reciprocal(_exp(-abs(a), integer_bits + 1)) - 8192) * 4, 16)
    return positive if a > 0 else -positive


def _inverse_root(value: int) -> tuple[int, int]:
    """1 / sqrt(value) as a multiplier and a shift: five Newton steps in Q3.28."""
    if value <= 1:
        return 2**31 - 1, 0
    right = 11
    while value >= 2**29:
        value, right = value // 4, right + 1
    while value < 2**27:
        value, right = value * 4, right - 1
    half, x = _divide(value // 2, 1), 2**28
    for _ in range(5):
        cube = _clamp(_high(_high(x, x, 32), x, 32) * 64, 32)
        x = _clamp(_wrap(_high(3 * 2**27, x, 32) - _high(half, cube, 32)) * 8, 32)
    x = _high(x, 1518500250, 32)  # sqrt(1/2)
    return (x * 2**-right, 0) if right < 0 else (x, -right)


class Reference:
    """One LSTM; lives for one evaluation."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node, self.s = graph, node, lstm.sizes(graph, node)
        self.x, self.h = (graph.quantization(lstm.at(node, p)) for p in (lstm.X, lstm.STATE))
        self.cell_scale = graph.quantization(lstm.at(node, lstm.CELL_STATE)).scale
        self.cell_log2 = int(np.rint(np.log2(self.cell_scale)))

    def _codes(self, name: str) -> list:
        return self.graph.constants[name].tolist()

    def _scale(self, name: str) -> np.float32:
        return F32(self.graph.quantization(name).scale)

    def _clip(self, clip: float, scale: float, bits: int) -> Callable[[int], int]:
        """The runtime cuts the quotient, which no zero point moves, to an integer."""
        largest = int(min(float(F32(clip) / F32(scale)), 2.0 ** (bits - 1) - 1)) if clip > 0 else 0
        return lambda code: min(max(code, -largest), largest) if largest > 0 else code

    def _pre_activation(self, gate: int, x: list[int], h: list[int]) -> list[int]:
        node, divisor = self.node, F32(lstm.gate_scale(self.node, gate))
        found = [0] * self.s.cells
        for kind, values, q in ((lstm.WEIGHTS, x, self.x), (lstm.RECURRENT, h, self.h)):
            name = lstm.at(node, kind + gate)
            by = _multiplier(float(self._scale(name) * F32(q.scale) / divisor))
            biased = kind == lstm.WEIGHTS and not lstm.normalized(node)
            biases = self._codes(lstm.at(node, lstm.BIAS + gate)) if biased else found
            for i, row in enumerate(self._codes(name)):
                total = sum(w * (v - q.zero_point) for w, v in zip(row, values, strict=True))
                total += biases[i] if biased else 0
                found[i] = _clamp(found[i] + _scaled(_wrap(total), by), 16)
        return found

    def _looked(self, gate: int, found: list[int], cell: list[int]) -> list[int]:
        """Peepholes; the runtime's vector code takes whole groups of cells and rounds its own way."""
        name = lstm.peephole(self.node, gate)
        real = 2.0**self.cell_log2 * float(self._scale(name)) / lstm.gate_scale(self.node, gate)
        by, count = _multiplier(float(F32(real))), min(self.s.cells, self.s.outputs)
        for i, weight in enumerate(self._codes(name)[:count]):
            in_vector = i < count // _PEEPHOLE_LANES * _PEEPHOLE_LANES
            found[i] = _clamp(found[i] + _scaled(weight * cell[i], by, in_vector), 16)
        return found

    def _normalized(self, gate: int, found: list[int]) -> list[int]:
        name, count = lstm.at(self.node, lstm.NORM + gate), len(found)
        scale = self._scale(name)
        multiplier, shift = _multiplier(float(scale))
        mean = _toward_zero(sum(found) * 1024, count)
        squares = sum(v * v for v in found) * (2**20 // count)
        variance = _wrap(_toward_zero(squares - mean * mean, 2**20))
        if variance < 1:
            variance = max(1, int(F32(10000) * scale))
        inverse = _inverse_root(variance)
        biases = self._codes(lstm.at(self.node, lstm.BIAS + gate))
        result = []
        for value, weight, bias in zip(found, self._codes(name), biases, strict=True):
            total = _wrap(_scaled(1024 * value - mean, inverse) * weight + bias)
            rounded = _toward_zero(total + (512 if total > 0 else -512), 1024)
            result.append(_clamp(_scaled(rounded, (multiplier, shift + 12)), 16))
        return result

    def _gate(self, gate: int, x: list[int], h: list[int], cell: list[int]) -> list[int]:
        found = self._pre_activation(gate, x, h)
        if lstm.peephole(self.node, gate):
            found = self._looked(gate, found, cell)
        if lstm.normalized(self.node):
            found = self._normalized(gate, found)
        return [_tanh(v, 3) if gate == lstm.CELL else _logistic(v) for v in found]

    def step(self, x: list[int], h: list[int], cell: list[int]) -> tuple[list[int], list[int]]:
        """(output, cell state) after one time step of one batch."""
        node = self.node
        forget, update = (self._gate(g, x, h, cell) for g in (lstm.FORGET, lstm.CELL))
        enter = [32767 - f for f in forget]
        if lstm.INPUT in lstm.gates_of(node):
            enter = self._gate(lstm.INPUT, x, h, cell)
        clip = self._clip(node.real("cell_clip"), self.cell_scale, 16)
        new = [
            clip(_clamp(_divide(f * c, 15) + _divide(e * u, 30 + self.cell_log2), 16))
            for f, c, e, u in zip(forget, cell, enter, update, strict=True)
        ]
        out = self._gate(lstm.OUTPUT, x, h, new)
        scale, zero_point = lstm.hidden_quantization(node)
        by = _multiplier(float(F32(2.0**-15 / float(F32(scale)) * 2.0**-15)))
        # Before a projection the runtime adds the zero point with the wrong sign, and takes it off alike.
        zero_point = -zero_point if lstm.projected(node) else zero_point
        hidden = [
            _clamp(_scaled(o * _tanh(c, 15 + self.cell_log2), by) + zero_point, 8)
            for o, c in zip(out, new, strict=True)
        ]
        return self._projected(hidden) if lstm.projected(node) else hidden, new

    def _projected(self, hidden: list[int]) -> list[int]:
        name, bias = (lstm.at(self.node, p) for p in (lstm.PROJECTION, lstm.PROJECTION_BIAS))
        scale, zero_point = lstm.hidden_quantization(self.node)
        by = _multiplier(float(self._scale(name) * F32(scale) / F32(self.h.scale)))
        clip = self._clip(self.node.real("proj_clip"), self.h.scale, 8)
        biases = self._codes(bias) if bias else [0] * self.s.outputs
        found = []
        for row, start in zip(self._codes(name), biases, strict=True):
            total = start + sum(w * (v + zero_point) for w, v in zip(row, hidden, strict=True))
            found.append(clip(_clamp(_scaled(_wrap(total), by) + self.h.zero_point, 8)))
        return found
