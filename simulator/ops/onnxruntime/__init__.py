"""Operators whose arithmetic in ONNX Runtime is its own: files like those of ``ops``, used in its profile.

What is not here is computed as in ``ops``: data movement, products, MAX_POOL_2D ...

The runtime joins DequantizeLinear, operator and QuantizeLinear into one operator of codes where it has
one (with 8-bit codes of one type, and nothing between that clamps); a node of such an operator has its
arithmetic. Others it computes in float32 between codes: nodes with ``arithmetic = float`` here.
"""
