"""The README on verification: its workflow is one, its commands parse, its tables are generated."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from simulator import cli, cli_arguments
from simulator.crosscheck.runtimes import RUNTIMES
from simulator.report.profiles import BEGIN, END
from simulator.vectors.generate import _LAYOUT

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")


def workflow() -> dict[Any, Any]:
    """The workflow of the README, parsed."""
    yaml: Any = pytest.importorskip("yaml")
    (block,) = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return yaml.safe_load(block)


def test_the_workflow_is_one() -> None:
    found = workflow()
    # YAML 1.1 reads the key `on` as a boolean; GitHub reads it as a word.
    assert set(found) == {"name", True, "jobs"}
    (job,) = found["jobs"].values()
    assert job["runs-on"]
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step)
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs[0] == "pip install './npusim[verify]'"


def test_its_commands_parse() -> None:
    (job,) = workflow()["jobs"].values()
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    commands = [line for line in lines if line.startswith("npusim ")]
    assert len(commands) >= 2
    for line in commands:
        args = cli_arguments.parser().parse_args(shlex.split(line)[1:])
        assert args.command == "verify"
        assert args.against is None or args.against in RUNTIMES


def test_the_table_of_profiles_is_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profiles", "--markdown"]) == 0
    block = README[README.index(BEGIN) : README.index(END) + len(END)]
    assert block + "\n" == capsys.readouterr().out, "npusim profiles --markdown"


def test_the_layout_of_vectors_is_documented() -> None:
    for key in _LAYOUT:
        if key.startswith("NNNN"):
            assert f"`{key}`" in README
