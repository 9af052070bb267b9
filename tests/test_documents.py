"""The README's and the notebooks' examples run as they are printed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from real_models import SHARED

from simulator import cli

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    """Bodies of the README's code blocks in ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def shell_commands() -> list[str]:
    """Lines of the README's shell blocks that call npusim on what ships."""
    lines = [line for block in fenced("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("npusim ")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("NPUSIM_STUDY_SAMPLES", "20")
    if SHARED.is_dir():
        monkeypatch.setenv("NPUSIM_WORKLOADS", str(SHARED))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), path.name, "exec"), names)
    assert capsys.readouterr().out


def test_readme_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = fenced("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", shell_commands())
def test_readme_commands_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line, comments=True)[1:]) == 0
    assert capsys.readouterr().out


def test_readme_shows_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """The output block after the demo command is the command's real output."""
    shown = next(block for block in fenced("text") if block.startswith("digits_int8.tflite"))
    assert cli.main(["run", "digits", "--device", "wear", "--data", "digits"]) == 0
    assert capsys.readouterr().out == shown


def test_readme_opens_with_the_two_commands() -> None:
    first = fenced("sh")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make demo", "make test"]
