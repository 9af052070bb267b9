"""Conformance vectors: small cases of one operator with the outputs a kernel must give, bit for bit.

``CASES`` has a maker for every operator that has vectors; adding one is adding a row (``cases``). The
expected outputs come from the datapath on a device without limits (``generate``).
"""

from simulator.vectors.cases import CASES
from simulator.vectors.generate import Written, make_cases, write_vectors

__all__ = ["CASES", "Written", "make_cases", "write_vectors"]
