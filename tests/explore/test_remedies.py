"""The study of remedies: its runs are what training and the datapath say, and none is done twice."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from float_networks import CLASSES, samples, write_network

from simulator.errors import DataError, UsageError

pytest.importorskip("torch")

import torch

from simulator.explore import remedies
from simulator.explore.remedies import (
    VARIANTS,
    Study,
    effects,
    outlier_shifts,
    run_study,
    variants_named,
)
from simulator.quantizers.msqe import solve
from simulator.quantizing import load_float_model
from simulator.report.remedies import study_report, study_to_dict, verdict
from simulator.result import RemedyEffect, RemedyRun
from simulator.training.train import Lesson, train
from simulator.training.weights import Exponents


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    random = np.random.default_rng(0)
    for name, count in (("data", 96), ("test", 64)):
        x = samples(count, count)
        np.savez(folder / f"{name}.npz", x=x, y=random.integers(0, CLASSES, count))
    models = (
        str(write_network(folder / "net.onnx", 3)),
        str(write_network(folder / "six.onnx", 4, True)),
    )
    return Study(models, str(folder / "data.npz"), str(folder / "test.npz"), bits=(4, 2), seeds=2,
                 epochs=2, batch=16)  # fmt: skip


@pytest.fixture(scope="module")
def done(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RemedyRun]]:
    folder = tmp_path_factory.mktemp("runs")
    told: list[int] = []
    runs = run_study(study, folder, 2, told.append)
    assert sum(told) == len(runs) == len(list(folder.iterdir()))
    return folder, runs


def test_all_variants_of_all_models_widths_and_seeds(
    study: Study, done: tuple[Path, list[RemedyRun]]
) -> None:
    trained = [v.name for v in VARIANTS if v.name != "untrained"]
    wanted = set(itertools.product(("net", "six"), (4, 2), trained, (0, 1)))
    wanted |= set(itertools.product(("net", "six"), (4, 2), ("untrained",), (0,)))
    assert {(r.model, r.bits, r.variant, r.seed) for r in done[1]} == wanted
    for run in done[1]:
        assert 0 <= run.top1 <= 1
        # The first and the last layer are not of the family.
        assert len(run.layers) == (4 if run.variant.startswith(("msqe", "gradient")) else 0)


@pytest.mark.parametrize("name", ["lsq", "msqe+all", "gradient+mask", "gradient+all"])
def test_a_run_is_what_training_says(
    study: Study, done: tuple[Path, list[RemedyRun]], name: str
) -> None:
    """Trained here, in another process, and scored by the network's own forward pass."""
    (job,) = (
        j for j in study.jobs()
        if (j.variant.name, j.bits, j.seed, Path(j.model).stem) == (name, 2, 1, "six")
    )  # fmt: skip
    data, test = (np.load(p) for p in (study.data, study.test))
    net = train(load_float_model(job.model), Lesson(data["x"], data["y"]), job.training())
    with torch.no_grad():
        made = net(torch.from_numpy(test["x"])).flatten(1).argmax(dim=1).numpy()
    run = next(r for r in done[1] if (r.variant, r.bits, r.seed, r.model) == (name, 2, 1, "six"))
    assert run.top1 == (made == test["y"]).mean()
    for layer in run.layers:
        quantizer = next(p.quantizer for p in net.layers() if p.node.name == layer.layer)
        assert isinstance(quantizer, Exponents)
        history = [float(k[0]) for k in quantizer.history]
        assert (layer.first, layer.last) == (history[0], history[-1])
        changed = sum(a != b for a, b in itertools.pairwise(history))
        assert layer.changes == changed / (len(history) - 1)
        assert layer.deviation == pytest.approx(np.std(history[6:]))


def test_runs_that_are_there_are_not_done_again(
    study: Study, done: tuple[Path, list[RemedyRun]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("all runs are there")

    monkeypatch.setattr(remedies, "_pool", refuse)
    told: list[int] = []
    assert run_study(study, done[0], 1, told.append) == done[1]
    assert told == [len(done[1])]


def test_runs_of_another_study_are_refused(
    study: Study, done: tuple[Path, list[RemedyRun]]
) -> None:
    with pytest.raises(UsageError, match="is of another model, training or data set"):
        run_study(replace(study, epochs=1), done[0])


@pytest.mark.parametrize("content", ["", "{}", '{"key": "", "run": {"layers": []}}', "\x00"])
def test_a_damaged_run_is_refused(study: Study, tmp_path: Path, content: str) -> None:
    job = study.jobs()[0]
    (tmp_path / job.file).write_text(content)
    with pytest.raises(UsageError, match="cannot be read"):
        run_study(study, tmp_path)


def test_the_order_of_processes_changes_nothing(
    study: Study, done: tuple[Path, list[RemedyRun]], tmp_path: Path
) -> None:
    few = replace(study, models=study.models[:1], bits=(4,), seeds=1, variants=("msqe", "gradient"))
    for run in run_study(few, tmp_path, 1):
        assert run in done[1]


def test_an_error_in_a_run_is_told_and_keeps_what_is_done(study: Study, tmp_path: Path) -> None:
    data = dict(np.load(study.data))
    np.savez(tmp_path / "bad.npz", x=data["x"], y=data["y"] + CLASSES)
    wrong = replace(study, data=str(tmp_path / "bad.npz"), bits=(4,), seeds=1, models=study.models[:1],
                    variants=("untrained", "lsq"))  # fmt: skip
    kept = tmp_path / "runs"
    kept.mkdir()
    with pytest.raises(DataError, match="labels"):
        run_study(wrong, kept)
    assert [p.name for p in kept.iterdir()] == ["net-4-untrained-0.json"]


def test_effects_are_paired_by_model_and_seed() -> None:
    pairs = {("a", 0): (0.5, 0.6), ("a", 1): (0.52, 0.58), ("b", 0): (0.7, 0.69)}
    runs = [
        RemedyRun(model, 4, variant, seed, 0.9, top1)
        for (model, seed), tops in pairs.items()
        for variant, top1 in zip(("msqe", "msqe+mask"), tops, strict=True)
    ]  # fmt: skip
    runs.append(RemedyRun("b", 4, "msqe+mask", 1, 0.9, 0.1))  # without its base
    (effect,) = effects(runs)
    assert (effect.variant, effect.base, effect.adds) == ("msqe+mask", "msqe", "outlier mask")
    assert (effect.pairs, effect.gained) == (3, 2)
    gains = np.array([0.1, 0.06, -0.01])
    assert effect.mean == pytest.approx(gains.mean())
    assert effect.error == pytest.approx(gains.std(ddof=1) / math.sqrt(3))


@pytest.mark.parametrize(
    ("gain", "error", "word"),
    [(0.02, 0.01, "helps"), (-0.02, 0.01, "harms"), (0.019, 0.01, "not told apart"),
     (0.5, math.nan, "not told apart"), (0.0, 0.0, "not told apart")],
)  # fmt: skip
def test_verdicts(gain: float, error: float, word: str) -> None:
    assert verdict(RemedyEffect("v", "b", "a", 4, 3, gain, error, 2)) == word


def test_every_variant_has_a_base_that_differs_in_one_thing() -> None:
    named = {v.name: v for v in VARIANTS}
    for variant in VARIANTS:
        if not variant.base or variant.adds == "all":
            continue
        base = named[variant.base]
        other = {k for k in variant.settings if variant.settings[k] != base.settings[k]}
        assert len(other) == 1, variant.name
        assert variant.method == base.method


def test_outliers_raise_exponents(study: Study) -> None:
    graph = load_float_model(study.models[0])
    name = next(n for n in graph.constants if n.startswith("conv5_w"))
    spoilt = graph.constants[name].copy()
    spoilt.reshape(-1)[:2] = 40 * spoilt.std()
    changed = replace(graph, constants={**graph.constants, name: spoilt})
    before, after = outlier_shifts(graph, (4, 8)), outlier_shifts(changed, (4, 8))
    differing = [layer for layer in before if before[layer] != after[layer]]
    (layer,) = differing
    assert after[layer][4] > before[layer][4]
    flat = spoilt.astype(np.float64).reshape(-1)
    inside = flat[np.abs(flat) <= 2 * flat.std()]
    assert after[layer][4] == solve(flat, 4).exponent - solve(inside, 4).exponent


def test_the_report_says_what_the_runs_say(
    study: Study, done: tuple[Path, list[RemedyRun]]
) -> None:
    runs, found = done[1], effects(done[1])
    shifts = {Path(m).stem: outlier_shifts(load_float_model(m), study.bits) for m in study.models}
    text = study_report(runs, found, shifts)
    assert "net: top-1 in %" in text
    assert "six: top-1 in %" in text
    lone = next(r for r in runs if (r.model, r.variant, r.bits) == ("net", "untrained", 4))
    assert f"{100 * lone.top1:.2f}" in text
    told = json.loads(json.dumps(study_to_dict(runs, found, shifts)))
    assert len(told["runs"]) == len(runs)
    assert {e["verdict"] for e in told["effects"]} <= {"helps", "harms", "not told apart"}
    assert study_report(runs, found, shifts, markdown=True).count("|") > 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"seeds": 0}, "seeds: 0; allowed: at least 1"),
     ({"samples": 0}, "samples: 0; allowed: at least 1"),
     ({"bits": (9,)}, "bits: 9; allowed: of 2 to 8"), ({"bits": ()}, "bits: none; allowed: of 2 to 8"),
     ({"models": ("a/x.onnx", "b/x.onnx")}, "models: x, x; allowed: of different names"),
     ({"variants": ("best",)}, "variants: no variant 'best'; allowed: untrained, lsq, ")],
)  # fmt: skip
def test_studies_that_are_refused(study: Study, settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        replace(study, **settings)
    assert str(error.value).startswith(message)


def test_folders_and_processes_that_are_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        run_study(study, tmp_path / "none")
    with pytest.raises(UsageError, match="processes: 0; allowed: at least 1"):
        run_study(study, tmp_path, 0)
    assert variants_named([]) == list(VARIANTS)
