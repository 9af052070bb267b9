"""Predictions beside what was published of real devices: nothing is fitted to any workload.

A device file describes each device by what is published of it; where that leaves something open, the file
says what was assumed. What a publication does not say of a *network* is assumed here, and said in the note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.graph import Graph
from simulator.hwconfig import Device, load_device, with_keys
from simulator.networks import (
    alexnet_convolutions,
    board_convolutions,
    network,
    square_dense,
    vgg16_convolutions,
)
from simulator.npu import load_model, simulate

_TPU = "Jouppi et al., ISCA 2017, arXiv 1704.04760, table 3"
_CORAL = "coral.ai, Edge TPU performance benchmarks (USB accelerator on a desktop host)"
_GAP9 = "MLPerf Tiny v1.0, closed division, GreenWaves GAP9"
_NVDLA = "github.com/nvdla/doc, primer.rst (an estimate of NVIDIA's)"
_EYERISS = "Chen et al., JSSC 52(1) 2017, doi:10.1109/JSSC.2016.2616357"


@dataclass(frozen=True)
class Comparison:
    """One published number, and ours."""

    device: str
    workload: str
    metric: str
    published: float
    predicted: float
    source: str
    note: str = ""

    @property
    def error(self) -> float:
        """(predicted - published) / published."""
        return self.predicted / self.published - 1


def tpuv1() -> list[Comparison]:
    """Throughput of four of the six applications.

    Of a network are published its weights, its layers by kind, the batch, and the operations per byte of
    weights; not the layers' shapes. Layers are taken as alike and square. Of the two others, LSTM1's
    weights are used less often than its batch says, by matrices of about 600 that fill a part of the array,
    and CNN1's shapes cannot be told from what is published.
    """
    device = load_device("tpuv1")
    found = []
    for name, layers, weights, batch, tops in (
        ("MLP0", 5, 20e6, 200, 12.3), ("MLP1", 4, 5e6, 168, 9.7), ("LSTM0", 24, 52e6, 64, 3.7),
        ("LSTM1", 37, 34e6, 96, 2.8),
    ):  # fmt: skip
        width = round((weights / layers) ** 0.5)
        result = simulate(square_dense(layers, width), device, samples_at_once=batch)
        note = f"{layers} layers of {width} x {width}, batch {batch}"
        if name.startswith("LSTM"):
            note += "; the vector operations between them left out"
        found.append(Comparison("TPU v1", name, "TOPS", tops, result.totals.tops, _TPU, note))
    # 2888 uses of a weight in a batch of 8 are 361 places, a board of 19 x 19.
    width = round((8e6 / 16 / 9) ** 0.5)
    result = simulate(board_convolutions(16, width, 19), device, samples_at_once=8)
    note = f"16 convolutions of 3 x 3 and {width} channels on 19 x 19, batch 8"
    return [*found, Comparison("TPU v1", "CNN0", "TOPS", 86.0, result.totals.tops, _TPU, note)]


def coral() -> list[Comparison]:
    """Latency of networks whose shapes their papers give, on a generic USB stick of that class."""
    device = load_device("edge-stick")
    models: Iterable[tuple[str, Graph, float]] = (
        ("MobileNet v1", network("mobilenet-v1"), 2.4),
        ("ResNet-50 v1, 299", network("resnet50-299"), 49),
        ("VGG16", network("vgg16"), 296),
        ("VGG19", network("vgg19"), 308),
    )
    return [
        Comparison(
            "Coral Edge TPU", name, "ms", ms, 1e3 * simulate(model, device).totals.latency_s, _CORAL,
            "nothing of its array and memories is published but 4 TOPS and some 8 MB",
        )
        for name, model, ms in models
    ]  # fmt: skip


def gap9() -> list[Comparison]:
    """Rate and energy of the MLPerf Tiny networks at both operating points."""
    device = load_device("gap9")
    found = []
    for name, model, rates, energies in (
        ("ResNet-8", "mlperf-tiny-resnet8", (1622.799, 1053.364), (40.356, 27.711)),
        ("DS-CNN", "mlperf-tiny-dscnn", (2103.206, 1365.785), (26.659, 18.561)),
        ("MobileNetV1 0.25", "mlperf-tiny-mobilenet", (889.048, 577.028), (58.356, 40.801)),
        ("autoencoder", "mlperf-tiny-autoencoder", (5691.597, 3689.707), (7.294, 5.252)),
    ):
        graph = load_model(model)
        for point, rate, energy in zip(("performance", "efficiency"), rates, energies, strict=True):
            totals = simulate(graph, device, operating_point=point).totals
            where = f"{name}, {device.operating_point(point).voltage_v:g} V"
            note = "NE16 and nine cores taken as one array that always has work"
            per_s, each = totals.inferences_per_s, totals.energy_pj * 1e-6
            found.append(Comparison("GAP9", where, "inferences/s", rate, per_s, _GAP9, note))
            found.append(Comparison("GAP9", where, "µJ", energy, each, _GAP9, note))
    return found


def nvdla() -> list[Comparison]:
    """ResNet-50 on seven sizes; of the middle ones only MACs, buffer and bandwidth are published."""
    large, found = load_device("nvdla-large"), []
    model = network("resnet50")
    for rows, cols, buffer_kib, gb_per_s, fps in (
        (64, 32, 512, 20, 269), (64, 16, 256, 15, 153), (32, 16, 256, 10, 93), (32, 8, 256, 5, 46),
        (16, 8, 256, 2, 20), (8, 8, 128, 1, 7.3), (8, 4, 128, 0.5, 3.6),
    ):  # fmt: skip
        device = _nvdla_of(large, rows, cols, buffer_kib, gb_per_s)
        rate = simulate(model, device).totals.inferences_per_s
        note = f"taken as {rows} channels by {cols} kernels, {buffer_kib} KiB, {gb_per_s:g} GB/s"
        found.append(
            Comparison(
                "NVDLA", f"ResNet-50, {rows * cols} MACs", "frames/s", fps, rate, _NVDLA, note
            )
        )
    return found


def _nvdla_of(large: Device, rows: int, cols: int, buffer_kib: int, gb_per_s: float) -> Device:
    words = large.accumulator.capacity_bytes // large.array.cols
    return with_keys(large, {
        "array": {"rows": rows, "cols": cols},
        "scratchpad": {"capacity_bytes": buffer_kib << 10, "read_bytes_per_cycle": 2 * rows},
        "accumulator": {"capacity_bytes": words * cols}, "vector": {"lanes": min(16, cols)},
        "dram": {"bandwidth_mb_per_s": 1000.0 * gb_per_s},
    })  # fmt: skip


def eyeriss() -> list[Comparison]:
    """The convolutions of two networks, in the batches that were measured."""
    device, found = load_device("eyeriss"), []
    note = "weight stationary here, row stationary there; weights of 8 bits, where the chip has 16"
    for name, graph, batch, fps, moved in (
        ("AlexNet convolutions", alexnet_convolutions("i16"), 4, 34.7, 15.4),
        ("VGG-16 convolutions", vgg16_convolutions("i16"), 3, 0.7, 321.1),
    ):
        totals = simulate(graph, device, samples_at_once=batch).totals
        found.append(
            Comparison("Eyeriss", name, "frames/s", fps, totals.inferences_per_s, _EYERISS, note)
        )
        traffic = totals.dram_bytes * 1e-6
        found.append(
            Comparison(
                "Eyeriss", name, "MB of DRAM", moved, traffic, _EYERISS,
                note + "; the chip compresses ifmaps",
            )
        )  # fmt: skip
    return found


def compare_all() -> list[Comparison]:
    """Every comparison, device by device."""
    return [*tpuv1(), *nvdla(), *eyeriss(), *coral(), *gap9()]
