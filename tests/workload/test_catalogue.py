"""Models by name: what ships, what a folder holds, what is fetched."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pooch
import pytest

from simulator import workload
from simulator.errors import ModelError
from simulator.resources import data_folder
from simulator.workload import FOLDER_VARIABLE, Entry, catalogue, model_path

DIGITS = data_folder("workloads") / "digits" / "digits_int8.tflite"
RESNET = "mlperf-tiny-resnet8"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one model to be fetched, whose content is the shipped one's."""
    entry = Entry(
        "small", "title", "folder/small.tflite", "https://example.org/small.tflite",
        catalogue()["digits"].sha256, "none", "",
    )  # fmt: skip
    monkeypatch.setattr(workload, "catalogue", lambda: {"small": entry})
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return entry


def no_network(*_: Any, **__: Any) -> str:
    raise OSError("no route to host")


@pytest.mark.parametrize("entry", catalogue().values(), ids=lambda e: e.name)
def test_entry_is_complete(entry: Entry) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
    assert entry.title
    assert entry.licence
    assert entry.file.endswith((".tflite", ".onnx"))
    assert entry.url == "" or entry.url.startswith("https://")
    if entry.data:
        assert (data_folder("workloads") / entry.data).is_file()


def test_files_of_the_catalogue_have_different_names() -> None:
    # The folder of the user's is searched by file name.
    names = [Path(e.file).name for e in catalogue().values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "entry", [e for e in catalogue().values() if not e.url], ids=lambda e: e.name
)
def test_what_ships_has_the_stated_digest(entry: Entry) -> None:
    path = data_folder("workloads") / entry.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert model_path(entry.name) == path


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any.tflite"
    path.touch()
    assert model_path(path) == model_path(str(path)) == path


def test_found_in_the_folder(small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "retrieve", no_network)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    shutil.copy(DIGITS, deep / "small.tflite")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert model_path("small") == deep / "small.tflite"


def test_another_file_of_that_name_is_passed_over(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "small.tflite").write_bytes(b"another")
    shutil.copy(DIGITS, tmp_path / "b" / "small.tflite")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert model_path("small") == tmp_path / "b" / "small.tflite"


def test_a_wrong_file_in_the_folder_is_an_error(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "small.tflite"
    wrong.write_bytes(b"another")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    digest = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(ModelError) as raised:
        model_path("small")
    assert str(raised.value) == f"{wrong}: SHA-256 {digest}; allowed: {small.sha256} (small)"


def test_a_folder_that_is_not_there_is_an_error(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(ModelError, match=r"^\$NPUSIM_WORKLOADS: there is no folder '.*gone'"):
        model_path("small")


@pytest.mark.parametrize("folder", ["", "empty"])
def test_fetched_with_its_digest(
    folder: str, small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path, progressbar: bool) -> str:
        asked.append((url, known_hash, fname))
        return str(tmp_path / fname)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    if folder:
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / folder))
    assert model_path("small") == tmp_path / "small.tflite"
    assert asked == [(small.url, f"sha256:{small.sha256}", "small.tflite")]


def test_without_network_and_folder_both_ways_are_named(
    small: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooch, "retrieve", no_network)
    with pytest.raises(ModelError) as raised:
        model_path("small")
    assert str(raised.value) == (
        "small: cannot be fetched from https://example.org/small.tflite: no route to host; allowed: "
        "a network, or $NPUSIM_WORKLOADS set to a folder that holds small.tflite"
    )


def test_a_wrong_download_is_an_error(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pooch itself compares: give it a downloader that brings something else.
    def wrong(url: str, output: str, _: object) -> None:
        Path(output).write_bytes(b"not the model")

    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path)
    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *_, **__: wrong)
    with pytest.raises(ModelError, match=r"^small: cannot be fetched from .*SHA256 hash of"):
        model_path("small")
    assert list((tmp_path / "workloads").iterdir()) == []


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="the models of ../shared are not here")
@pytest.mark.parametrize("entry", [e for e in catalogue().values() if e.url], ids=lambda e: e.name)
def test_upstream_models_are_found_in_the_shared_folder(
    entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooch, "retrieve", no_network)
    monkeypatch.setenv(FOLDER_VARIABLE, str(SHARED))
    assert hashlib.sha256(model_path(entry.name).read_bytes()).hexdigest() == entry.sha256
