"""Integer arithmetic: the only truth about widths, rounding and overflow.

Everything here works on 64-bit integers with the bound of each value stated; the same source gives
the same integers compiled and interpreted.
"""
