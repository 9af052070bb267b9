"""How the function ``reduce`` gets from the elements of a reduction to a code."""

from __future__ import annotations

# The largest or the smallest element; a sum through a requantizer; a sum divided by an integer; a sum
# scaled and moved in float32.
FORMS = ("maximum", "minimum", "requantized", "quotient", "float32")
MAXIMUM, MINIMUM, REQUANTIZED, QUOTIENT, FLOAT32 = range(len(FORMS))
# How a quotient is rounded.
TOWARDS_ZERO, AWAY_FROM_ZERO = 0, 1
# How a float32 number becomes an integer, each time on ties.
TO_EVEN, AWAY = 0, 1
