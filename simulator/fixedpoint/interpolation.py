"""How the function ``resize_bilinear`` weighs four neighbours."""

from __future__ import annotations

# Integer weights of 10 bits, ties away from 0; of 11 bits, ties up; float32 weights, each neighbour
# times its row's then its column's; float32 weights whose products are formed first.
FORMS = ("q10", "q11", "float32", "float32_products")
Q10, Q11, FLOAT32, FLOAT32_PRODUCTS = range(len(FORMS))
