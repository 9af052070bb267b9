"""How many whole graphs the property tests draw, and how.

Without ``NPUSIM_GRAPHS`` a run is always the same; ``NPUSIM_GRAPHS=5000`` draws about as many in each test
file, others every time, and a failure prints how to draw it again.
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

_ALL: Any = list(HealthCheck)
_STATED = int(os.environ.get("NPUSIM_GRAPHS", "0"))


def graph_settings(examples: int, share: int = 1) -> settings:
    """``examples``, or one part in ``share`` of what the environment asks for."""
    return settings(
        max_examples=max(1, _STATED // share) if _STATED else examples, derandomize=not _STATED,
        deadline=None, database=None, print_blob=True, suppress_health_check=_ALL,
    )  # fmt: skip
