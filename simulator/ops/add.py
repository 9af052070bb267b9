"""ADD of two tensors that broadcast: codes, or plain numbers on the host."""

from simulator.ops._elementwise import elementwise_nest
from simulator.ops._sum import PROFILES, RULES, infer, lower, reference

__all__ = [
    "COMMAND", "PROFILES", "RULES", "SUMMARY", "elementwise_nest", "infer", "lower", "reference"
]  # fmt: skip

SUMMARY = "element-wise sum of two tensors that broadcast, with fused activation"
COMMAND = "vector add; host arithmetic for numbers"
