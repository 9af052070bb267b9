"""The table of operators and profiles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from simulator.profiles import CHOSEN, PROFILES, RUN, SOURCE
from simulator.report.profiles import BEGIN, END, all_operators, evidence, profile_table


def described(command: str, **profiles: str) -> Any:
    return SimpleNamespace(COMMAND=command, PROFILES=profiles)


@pytest.mark.parametrize(
    ("operator", "profile", "word"),
    [
        (described("matmul", tflite=RUN, ruy=SOURCE), "ruy", "source"),
        (described("matmul", tflite=RUN, dyadic=CHOSEN), "dyadic", "chosen"),
        (described("matmul", tflite=RUN), "ruy", "as tflite"),
        (described("move", tflite=RUN), "tflite", "run"),
        (described("move", tflite=RUN), "ruy", "movement"),
        (described("none (the tensor gets a second name), or move", tflite=RUN), "ruy", "movement"),
        (described("vector lookup", tflite=RUN), "dyadic", "as tflite"),
    ],
)
def test_how_an_arithmetic_is_known(operator: Any, profile: str, word: str) -> None:
    assert evidence(operator, profile) == word


def test_every_cell_is_explained() -> None:
    text = profile_table({"litert": "LiteRT 2.3"})
    first, second, legend = text.split("\n\n")
    words = {line.split(":")[0] for line in legend.splitlines()}
    assert words == {"run", "source", "chosen", "as tflite", "movement", "-"}
    rows = second.splitlines()[2:]
    assert len(rows) == len(all_operators())
    for row in rows:
        cells = row.replace("as tflite", "as-tflite").replace("run (", "run(").split()[1:]
        assert len(cells) == len(PROFILES)
        assert {c.replace("as-", "as ").split("(")[0] for c in cells} <= words
    clip = next(row for row in rows if row.startswith("CLIP "))
    assert clip.split()[1:] == ["-", "-", "-", "-", "run", "-", "-", "-"]
    assert "litert: LiteRT 2.3" in first
    assert [line.split()[0] for line in first.splitlines()[2:]] == list(PROFILES)


def test_markdown_lies_between_marks() -> None:
    text = profile_table({}, markdown=True)
    assert text.startswith(f"{BEGIN}\n\n| profile")
    assert text.endswith(f"\n\n{END}")
    assert "\n- `run`: " in text
