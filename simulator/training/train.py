"""Training a float model on what its quantized file computes; seeded, and gone on from where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from simulator.errors import DataError, UsageError
from simulator.files import check_target, write_bytes
from simulator.graph import Graph
from simulator.quantization.calibration import activation_params
from simulator.quantization.equalization import PRODUCTS, norms_of
from simulator.quantization.post_training import prepared
from simulator.quantization.scheme import GRANULARITIES, Scheme
from simulator.quantizers import SCALES
from simulator.tensor import QuantParams
from simulator.training.activations import METHODS as ACTIVATIONS
from simulator.training.network import QuantizedNetwork, maker
from simulator.training.weights import METHODS, Exponents, Remedies

Progress = Callable[[int], object]
NORMS = ("folded", "trained")
_CALIBRATION_SAMPLES = 256


@dataclass(frozen=True)
class Training:
    """How to train.

    ``method``: of weights, of ``METHODS``; ``activations``: of ``ACTIVATIONS``. ``edge_bits``: of the first
    and the last layer, which then learn their scale (LSQ). The learning rate falls from ``learning_rate``
    to 0 along a cosine. ``stable_from``: with the remedy ``stable``, the part of all epochs after which
    exponents stay. ``norms``: ``folded`` once, before training; or ``trained``: folded anew in every step,
    their statistics those of the batch for ``norms_until`` of all epochs, and then frozen.
    ``scale_rate``: learning rate of scales, where it is another one. ``activation_scale``: what scales of
    activations may be, before they are trained if they are. ``equalize``: channels, before all else, which
    takes norms that are folded. ``threads``: how sums are split among them
    changes how they are rounded, so that it is as much a part of the training as the seed.
    """

    method: str = "lsq"
    bits: int = 4
    per: str = "channel"
    activations: str = "lsq"
    edge_bits: int | None = 8
    epochs: int = 10
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    remedies: Remedies = field(default_factory=Remedies)
    stable_from: float = 0.7
    norms: str = "folded"
    norms_until: float = 0.5
    activation_limits: str = "mse"
    activation_scale: str = "float"
    equalize: bool = False
    scale_rate: float | None = None
    threads: int = 2

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("method", self.method, tuple(METHODS)), ("per", self.per, GRANULARITIES),
            ("activations", self.activations, ACTIVATIONS), ("norms", self.norms, NORMS),
            ("activation scale", self.activation_scale, tuple(SCALES)),
        ):  # fmt: skip
            if value not in allowed:
                raise UsageError(what, repr(value), ", ".join(allowed))
        for what, value in (
            ("epochs", self.epochs), ("batch", self.batch), ("threads", self.threads)
        ):  # fmt: skip
            if value < 1:
                raise UsageError(what, str(value), "at least 1")
        if self.equalize and self.norms != "folded":
            raise UsageError("equalize", f"with norms {self.norms}", "norms folded")
        if not 2 <= self.bits <= 8 and self.method not in ("binary", "ternary"):
            raise UsageError("bits", str(self.bits), "2 to 8")
        if self.edge_bits is not None and not 2 <= self.edge_bits <= 8:
            raise UsageError("edge bits", str(self.edge_bits), "2 to 8")
        for what, rate in (
            ("learning rate", self.learning_rate), ("learning rate of scales", self.scale_rate)
        ):  # fmt: skip
            if rate is not None and not 0 < rate <= 1:
                raise UsageError(what, f"{rate:g}", "above 0, at most 1")
        if self.weight_decay < 0:
            raise UsageError("weight decay", f"{self.weight_decay:g}", "at least 0")
        for what, value in (("stable from", self.stable_from), ("norms until", self.norms_until)):
            if not 0 <= value <= 1:
                raise UsageError(what, f"{value:g}", "0 to 1")


@dataclass(frozen=True, eq=False)
class Lesson:
    """Real samples (samples, ...) float32 and their classes; ``params`` where samples are codes."""

    x: np.ndarray
    y: np.ndarray
    params: QuantParams | None = None


def network_of(graph: Graph, lesson: Lesson, how: Training) -> QuantizedNetwork:
    """``graph``, float32, ready to be trained: calibrated on the first samples."""
    norms = norms_of(graph) if how.norms == "trained" else {}
    scheme = Scheme(
        activation_limits=how.activation_limits, scale=how.activation_scale, equalize=how.equalize
    )
    graph = prepared(graph, scheme)
    params = activation_params(graph, lesson.x[:_CALIBRATION_SAMPLES], scheme, lesson.params)
    products = [n.name for n in graph.nodes if n.operator in PRODUCTS]
    edges = {products[0], products[-1]} if products else set()
    more: dict[str, Any] = {}
    if issubclass(METHODS[how.method], Exponents):
        more["remedies"] = how.remedies
    make = maker(how.method, how.bits, how.per, (edges, how.edge_bits), **more)
    return QuantizedNetwork(graph, params, make, how.activations, norms)


def train(
    graph: Graph, lesson: Lesson, how: Training, progress: Progress | None = None,
    resume: Path | None = None,
) -> QuantizedNetwork:  # fmt: skip
    """The trained network of float ``graph``. ``progress`` is called after each epoch.

    ``resume``: a file that keeps the state after each epoch, and that training goes on from: what comes out
    is the same, interrupted or not.
    """
    _check(graph, lesson)
    torch.set_num_threads(how.threads)
    torch.manual_seed(how.seed)
    net = network_of(graph, lesson, how)
    x, y = (
        torch.from_numpy(lesson.x.astype(np.float32)),
        torch.from_numpy(lesson.y.astype(np.int64)),
    )
    steps = -(-len(x) // how.batch)
    optimizer = torch.optim.AdamW(_groups(net, how), how.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.epochs * steps)
    kept = _Kept(resume, lesson, how, graph.sha256) if resume else None
    first = kept.load(net, optimizer, schedule) if kept else 0
    for epoch in range(first, how.epochs):
        for product in net.layers():
            if isinstance(product.quantizer, Exponents) and epoch >= how.stable_from * how.epochs:
                product.quantizer.freeze()
            if product.norm is not None and epoch >= how.norms_until * how.epochs:
                product.norm.freeze()
        net.train()
        order = torch.randperm(
            len(x), generator=torch.Generator().manual_seed(how.seed + 7919 * epoch)
        )
        for start in range(0, len(x), how.batch):
            chosen = order[start : start + how.batch]
            loss = functional.cross_entropy(net(x[chosen]).flatten(1), y[chosen])
            if not bool(torch.isfinite(loss)):
                raise UsageError("training", f"diverged in epoch {epoch}", "a lower learning rate")
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        if kept:
            kept.save(net, optimizer, schedule, epoch + 1)
        if progress is not None:
            progress(1)
    return net.eval()


def _groups(net: QuantizedNetwork, how: Training) -> list[dict[str, Any]]:
    """Weights decay, and so do PACT's clipping points, as its authors have it; scales and biases do not."""
    weights = [p.weights for p in net.layers()]
    clipping = list(net.activations.parameters())
    scales = [p for layer in net.layers() for p in layer.quantizer.parameters()]
    known = {id(p) for p in (*weights, *clipping, *scales)}
    rest = [p for p in net.parameters() if id(p) not in known]
    rate = how.scale_rate or how.learning_rate
    decay = how.weight_decay if how.activations == "pact" else 0.0
    return [
        {"params": weights, "weight_decay": how.weight_decay},
        {"params": clipping, "weight_decay": decay, "lr": rate},
        {"params": scales, "weight_decay": 0.0, "lr": rate},
        {"params": rest, "weight_decay": 0.0},
    ]


def _check(graph: Graph, lesson: Lesson) -> None:
    if not np.isfinite(lesson.x).all() or lesson.x.shape[0] != lesson.y.shape[0]:
        given = f"{lesson.x.shape[0]} samples, {lesson.y.shape[0]} labels"
        raise DataError("training data", given, "as many of each, all finite")
    classes = graph.spec(graph.outputs[0]).elements
    if lesson.y.min() < 0 or lesson.y.max() >= classes:
        given = f"labels {lesson.y.min()}..{lesson.y.max()}"
        raise DataError("training data", given, f"0..{classes - 1}, one per output")


class _Kept:
    """The file that training goes on from."""

    def __init__(self, path: Path, lesson: Lesson, how: Training, model: str) -> None:
        check_target(str(path))
        self.path = path
        samples = hashlib.sha256(np.ascontiguousarray(lesson.x).data)
        samples.update(np.ascontiguousarray(lesson.y).data)
        self.key = json.dumps([asdict(how), samples.hexdigest(), model], sort_keys=True)

    def load(self, net: QuantizedNetwork, optimizer: Any, schedule: Any) -> int:
        """The epoch to go on with."""
        if not self.path.exists():
            return 0
        allowed = "a file that an earlier run of the same training has written"
        try:
            found = torch.load(self.path, weights_only=True)
            key = found["key"]
        except Exception as error:  # whatever a damaged archive raises in torch
            raise UsageError(str(self.path), f"cannot be read: {error}", allowed) from None
        if key != self.key:
            raise UsageError(str(self.path), "is of another model, training or data set", allowed)
        net.load_state_dict(found["net"])
        optimizer.load_state_dict(found["optimizer"])
        schedule.load_state_dict(found["schedule"])
        return int(found["epoch"])

    def save(self, net: QuantizedNetwork, optimizer: Any, schedule: Any, epoch: int) -> None:
        content = io.BytesIO()
        state = {
            "key": self.key, "epoch": epoch, "net": net.state_dict(),
            "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
        }  # fmt: skip
        torch.save(state, content)
        write_bytes(self.path, content.getvalue())
