"""Figures as files: of one run, of a model over cores, and of devices beside each other."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from simulator.errors import UsageError
from simulator.files import write_bytes

_SUFFIXES = (".png", ".svg", ".pdf")
_DPI = 150


def figure_suffix(target: str) -> str:
    """The format of a figure's file; an error where there is none."""
    suffix = Path(target).suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(target, f"a figure of type {suffix or 'none'}", ", ".join(_SUFFIXES))
    return suffix


def draw(make: Callable[[Any], Any], target: str) -> None:
    """Write the figure that ``make`` makes, given ``matplotlib.pyplot``, to ``target``."""
    suffix = figure_suffix(target)
    try:
        import matplotlib
    except ImportError:
        advice = "pip install 'npusim[plot]'"
        raise UsageError("plot", "the package matplotlib is not installed", advice) from None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure = make(plt)
    content = io.BytesIO()
    try:
        figure.savefig(content, format=suffix[1:], dpi=_DPI, bbox_inches="tight")
    finally:
        plt.close(figure)
    write_bytes(Path(target), content.getvalue())
