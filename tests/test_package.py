"""The package as its users meet it: a light import, public names, data files, and words in every error."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import simulator
from simulator import resources
from simulator.errors import ModelError, NpusimError

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {
    "numba", "numpy", "simpy", "pydantic", "tflite", "pooch", "tabulate", "tqdm", "matplotlib",
    "torch", "ai_edge_litert", "onnx", "onnxruntime",
}  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after ``statement``."""
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "statement",
    ["import simulator", "import simulator.cli", "from simulator import NpusimError"],
)
def test_import_costs_nothing(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from simulator import load_device; load_device('wear')", HEAVY - {"pydantic"}),
        ("from simulator import simulate", {"ai_edge_litert", "matplotlib", "torch", "simpy"}),
        ("from simulator import verify", {"ai_edge_litert", "matplotlib", "torch", "simpy"}),
    ],
)
def test_only_what_is_needed_is_loaded(statement: str, absent: set[str]) -> None:
    assert loaded_by(statement) & absent == set()


def test_public_names() -> None:
    assert set(dir(simulator)) == set(simulator.__all__)
    assert set(simulator.__all__) == set(simulator._HOMES)
    for name in simulator.__all__:
        assert getattr(simulator, name).__module__.startswith("simulator.")
        assert getattr(simulator, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = simulator.simulat  # pyright: ignore[reportAttributeAccessIssue]


def test_every_module_has_a_docstring() -> None:
    package = ROOT / "simulator"
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        assert import_module(name).__doc__, name


def test_data_beside_the_package_or_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resources.data_folder("hwconfigs") == ROOT / "hwconfigs"
    package = tmp_path / "site-packages" / "simulator"
    (package / "_data" / "hwconfigs").mkdir(parents=True)
    (tmp_path / "site-packages" / "hwconfigs").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.data_folder("hwconfigs") == package / "_data" / "hwconfigs"


def test_a_wheel_takes_the_data_along() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["simulator"]
    assert wheel["force-include"] == {
        "hwconfigs": "simulator/_data/hwconfigs",
        "workloads": "simulator/_data/workloads",
        "tests/rtl/src": "simulator/_data/tests/rtl/src",
    }
    assert project["project"]["scripts"] == {"npusim": "simulator.cli:main"}


def test_an_error_is_one_line_with_its_parts() -> None:
    error = ModelError("a\nb", "given\x1b[1m  twice", "this\tor that")
    assert str(error) == "a b: given [1m twice; allowed: this or that"
    assert (error.where, error.exit_code) == ("a\nb", 2)
    assert str(ModelError("where", "what")) == "where: what"
    assert isinstance(error, NpusimError)


def test_an_error_survives_a_process_border() -> None:
    error = ModelError("where", "what", "these")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ModelError
    assert (again.where, again.problem, again.allowed) == ("where", "what", "these")
    assert str(again) == str(error)
