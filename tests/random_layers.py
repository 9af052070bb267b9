"""Random single-operator models, one maker per operator.

``LAYERS`` must have an entry for every operator of the package; the conformance suite checks it.
"""

from __future__ import annotations

from collections.abc import Callable

import layers_elementwise
import layers_movement
import layers_products
import layers_recurrent
import layers_reductions
from layer_parts import SAMPLES, Layer, Rng, codes, scale, zero_point

__all__ = ["LAYERS", "SAMPLES", "Layer", "Rng", "codes", "scale", "zero_point"]

LAYERS: dict[str, Callable[[Rng], Layer]] = {
    **layers_products.LAYERS, **layers_elementwise.LAYERS, **layers_movement.LAYERS,
    **layers_reductions.LAYERS, **layers_recurrent.LAYERS,
}  # fmt: skip
