"""TensorFlow Lite Micro's LOGISTIC and TANH of int8 codes: gemmlowp's fixed point, as tables.

The code becomes a number with 4 integer bits of 32 (``double_rounding`` by the input's scale times
2**27), the function gives one with none, and its upper bits are the output code; beyond the range of 4
integer bits the output is the smallest or largest code. Source: ``reference/integer_ops/logistic.h``,
``tanh.h``, ``logistic_common.cc``. Plain integers: this fills a table of 256 entries once.
"""

from __future__ import annotations

from simulator.fixedpoint.gemmlowp import logistic, tanh
from simulator.graph import Graph, Node
from simulator.ops._scaling import naive_scaled, scaling
from simulator.ops._table import Code

_INTEGER_BITS = 4


def fixed_table(graph: Graph, node: Node) -> Code:
    """Output codes of int8 input codes; ``node`` is a LOGISTIC or a TANH."""
    source = graph.quantization(node.inputs[0])
    by = scaling("double_rounding", source.scale * 2.0 ** (31 - _INTEGER_BITS))
    # The largest code that 4 integer bits hold; for a shift below 0 nothing is beyond it.
    radius = (15 << 27) >> by.shift if by.shift >= 0 else 1 << 31
    is_logistic = node.operator == "logistic"

    def code(x: int) -> int:
        value = x - source.zero_point
        if abs(value) >= radius:
            return 127 if value > 0 else -128
        function = logistic if is_logistic else tanh
        result = int(function(naive_scaled(by, value), _INTEGER_BITS, 32))
        bits = 23 if is_logistic else 24
        magnitude = (abs(result) + (1 << (bits - 1))) >> bits
        rounded = (magnitude if result >= 0 else -magnitude) - (128 if is_logistic else 0)
        return min(max(rounded, -128), 127)

    return code
