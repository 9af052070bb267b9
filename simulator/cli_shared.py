"""What several commands of ``npusim`` do alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from simulator.errors import UsageError


@contextmanager
def progress(total: int, what: str, unit: str = "sample") -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal, so that logs stay readable.
    with tqdm(total=total, desc=what, unit=unit, file=sys.stderr, leave=False, disable=None) as bar:
        yield bar.update


def announce_compilation() -> None:
    from simulator.jit import cache_root, cache_state

    words = {
        "cold": "later runs find them in the cache",
        "none": f"so will every run, since nothing can be written to {cache_root()}: set "
        "NPUSIM_CACHE_DIR to another folder",
    }
    state = cache_state()
    if state != "warm":
        print(f"npusim: compiling the kernels, up to a minute; {words[state]}", file=sys.stderr)


def tell(target: str | None, content: dict[str, Any], text: str) -> None:
    """``content`` as JSON to ``target``, if any, and ``text`` unless that is standard output. The file
    first: where it cannot be written, nothing is printed either."""
    from simulator.report.machine_readable import write_json

    if target:
        write_json(content, target)
    if target != "-":
        print(text)


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="OUT", help="also write it as JSON (- for stdout)")


def at_least_one(where: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(where, str(value), "at least 1")


def known_rule(rule: str) -> None:
    from simulator.datapath.inputs import RULES

    if rule not in RULES:
        raise UsageError("--inputs", f"rule {rule!r}", ", ".join(RULES))
