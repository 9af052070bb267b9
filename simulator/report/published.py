"""Devices beside what is published of them, as a table for a terminal or a README."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabulate import tabulate

from simulator.result import PublishedCheck

_HEADERS = (
    "device", "TOPS", "published", "W at peak", "range", "published", "of", "error", "TOPS/W",
    "published", "mm²", "range", "published",
)  # fmt: skip


def published_table(checks: Sequence[PublishedCheck], markdown: bool = False) -> str:
    """One row per device, and what the errors come to."""
    rows = [_row(check) for check in checks]
    form = "github" if markdown else "simple"
    align = ["left", *["right"] * 5, "left", *["right"] * 6]
    table = tabulate(rows, _HEADERS, tablefmt=form, disable_numparse=True, colalign=align)
    return f"{table}\n\n{_summary(checks)}"


def _row(check: PublishedCheck) -> list[str]:
    p, published = check.power, check.device.published
    error = check.power_error
    watts = published.power_w
    efficiency = published.peak_tops / watts if published.peak_tops and watts else None
    return [
        check.device.name, _number(check.peak_tops), _number(published.peak_tops), _number(p.value),
        _range(p.lowest, p.highest), _number(watts), published.power_of if watts else "",
        "" if error is None else f"{100 * error:+.0f} %", _number(check.tops_per_watt), _number(efficiency),
        _number(check.area_mm2), _range(check.area_low_mm2, check.area_high_mm2),
        _number(published.die_mm2),
    ]  # fmt: skip


def _number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, without an exponent."""
    if not value:
        return ""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.{max(0, digits - 1 - math.floor(math.log10(rounded)))}f}"


def _range(low: float, high: float) -> str:
    return f"{_number(low, 2)} to {_number(high, 2)}"


def _summary(checks: Sequence[PublishedCheck]) -> str:
    peaks = [
        abs(c.peak_tops / c.device.published.peak_tops - 1)
        for c in checks if c.device.published.peak_tops
    ]  # fmt: skip
    lines = []
    if peaks:
        mean = sum(peaks) / len(peaks)
        lines.append(
            f"Peak: off by {100 * mean:.2f} % on average, {100 * max(peaks):.1f} % at most, of "
            f"{len(peaks)}."
        )
    for of, what in (
        ("engine", "the engine alone"),
        ("chip", "a whole chip"),
        ("board", "a board"),
    ):
        own = [c for c in checks if c.device.published.power_of == of]
        errors = [(abs(c.power_error), c.power_error) for c in own if c.power_error is not None]
        if errors:
            mean = sum(e for e, _ in errors) / len(errors)
            within = sum(bool(c.within) for c in own)
            lines.append(
                f"Power of {what}: off by {100 * mean:.0f} % on average, "
                f"{100 * max(errors)[1]:+.0f} % at worst, of {len(errors)}; {within} within the range"
                f"{'' if of == 'engine' else ' or above it'}."
            )
    return "\n".join(lines)
