"""The README's table of real models names every quantized file at hand, and says what is still so."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import script

TABLE = script(Path(__file__).with_name("table.py"))
FILES = TABLE.models()
SAMPLES = 1


def said() -> tuple[dict[str, list[str]], int]:
    """Rows of the README by model, and the number of samples they are of."""
    text = TABLE.README.read_text(encoding="utf-8")
    block = text.partition(TABLE.BEGIN)[2].partition(TABLE.END)[0].strip()
    rows, _, note = block.partition("\n\n")
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in rows.splitlines()]
    assert cells[0] == list(TABLE.HEADERS)
    return {row[0].strip("`"): row for row in cells[2:]}, int(note.split()[0])


def test_the_table_is_there_and_shows_no_difference() -> None:
    rows, samples = said()
    assert samples == TABLE.SAMPLES
    assert len(rows) >= 5
    compared = [row for row in rows.values() if not row[-1].startswith("not compared")]
    assert compared
    assert {row[-1] for row in compared if not row[-1].endswith(" *")} == {"0"}
    assert {row[0].strip("`") for row in compared if row[-1].endswith(" *")} <= TABLE.ROUNDED


def test_writing_replaces_what_lies_between_the_marks() -> None:
    text = f"a\n{TABLE.BEGIN}\nold\n{TABLE.END}\nb\n"
    block = TABLE.table([TABLE.Row("m.tflite", "litert", 3, 4, 5000, 0)], 10)
    assert TABLE.replaced(text, block) == f"a\n{block}\nb\n"
    assert "| `m.tflite` | litert | 3 | 4 | 5,000 | 0 |" in block


@pytest.mark.skipif(not FILES, reason="needs ../shared/data, which is not part of the project")
def test_every_quantized_file_has_a_row() -> None:
    rows, _ = said()
    assert list(rows) == [path.relative_to(TABLE.DATA).as_posix() for path in FILES]


@pytest.mark.skipif(not FILES, reason="needs ../shared/data, which is not part of the project")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_each_row_is_still_so(path: Path) -> None:
    package = "ai_edge_litert" if path.suffix == ".tflite" else "onnxruntime"
    pytest.importorskip(package, reason="the reference runtimes are an extra: npusim[verify]")
    rows, samples = said()
    found = TABLE.row(path, SAMPLES)
    if "package qonnx is not installed" in found.problem:
        pytest.skip("needs qonnx")
    assert found.different <= (found.elements // 100 if found.model in TABLE.ROUNDED else 0)
    scaled = TABLE.Row(
        found.model, found.against, found.operators, found.tensors,
        found.elements // SAMPLES * samples, 0, found.problem,
    )  # fmt: skip
    assert scaled.cells()[:-1] == rows[found.model][:-1]
