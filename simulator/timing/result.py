"""What a timing engine says: spans of every tile, and every cycle with its cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CAUSES = (
    "compute", "fill_drain", "weight_load", "scratchpad_stall", "dram_stall", "vector", "host", "control",
)  # fmt: skip
"""``compute``: operands enter the array. ``fill_drain``: the wavefront fills or empties it.
``weight_load``: the stationary operand loads and nothing streams. ``scratchpad_stall``: the scratchpad
port is narrower than the array needs, or the DMA copies on chip. ``dram_stall``: the array, or after it
the vector unit, waits for a transfer. ``vector``: the array has nothing to do until the vector unit is
done. ``host``: the host runs. ``control``: a command is fetched and decoded."""

# Columns of a span table, absolute cycles; -1 where a tile has no such stage. Transfers take turns on the
# bus; the last byte of one may come later, while others have theirs.
OPERANDS_END, STREAM_START, STREAM_END, RESULTS, VECTOR_START, VECTOR_END, RESULT_END = range(7)
OPERANDS_TURN, OPERANDS_TURN_END, RESULT_TURN, RESULT_TURN_END = range(7, 11)
SPAN_COLUMNS = 11


@dataclass(frozen=True)
class CommandTiming:
    """One command: half-open ``start_cycle`` .. ``end_cycle``, its cycles by cause, its tiles' spans.

    ``prefetch_turn``: when the bus fetched weights for it beforehand (empty: it did not).
    """

    start_cycle: int
    end_cycle: int
    by_cause: dict[str, int]
    spans: np.ndarray
    prefetch_turn: tuple[int, int] = (0, 0)

    @property
    def cycles(self) -> int:
        return self.end_cycle - self.start_cycle


@dataclass(frozen=True)
class Timing:
    """The whole program; its commands' cycles follow each other without a gap.

    On a device of several cores ``commands`` are those of the core that ended each of them last, ``cores``
    has all of them, and ``uncontended_cycles`` is what it would take if each had the DRAM to itself.
    """

    commands: tuple[CommandTiming, ...]
    cores: tuple[Timing, ...] = ()
    uncontended_cycles: int = 0

    @property
    def cycles(self) -> int:
        return self.commands[-1].end_cycle

    def by_cause(self) -> dict[str, int]:
        return {c: sum(k.by_cause[c] for k in self.commands) for c in CAUSES}
