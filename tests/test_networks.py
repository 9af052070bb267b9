"""Networks by their shapes: their sizes are those that their papers and others report."""

from __future__ import annotations

import pytest

from simulator.cli import main
from simulator.errors import ModelError
from simulator.hwconfig import load_device
from simulator.networks import NETWORKS, network
from simulator.npu import load_model, simulate

# Millions of weights (biases left out) and of MACs: AlexNet's convolutions as measured in Chen et al., JSSC
# 2017 (2.66 G in a batch of 4); VGG in arXiv 1409.1556, table 2; MobileNet in arXiv 1704.04861, table 8;
# ResNet in arXiv 1512.03385, table 1 (3.8 G and 11.3 G at 224 x 224).
SIZES = {
    "alexnet-convolutions": (2.3, 665), "vgg16": (138, 15_470), "vgg19": (144, 19_632),
    "mobilenet-v1": (4.2, 569), "resnet50": (25.5, 3_858),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    weights, macs = SIZES[name]
    graph = network(name)
    assert sum(w.size for w in graph.constants.values()) == pytest.approx(1e6 * weights, rel=0.015)
    assert simulate(graph, load_device("fsd")).totals.macs == pytest.approx(1e6 * macs, rel=0.005)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_sound(name: str) -> None:
    graph = load_model(f"shape:{name}")
    assert len(graph.outputs) == 1
    assert graph.spec(graph.inputs[0]).shape[0] == 1


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="no network of this name; allowed: shape:alexnet"):
        load_model("shape:lenet")
    assert main(["run", "shape:alexnet-convolutions", "--device", "eyeriss", "--batch", "4"]) == 0
    assert "4 samples at once" in capsys.readouterr().out
