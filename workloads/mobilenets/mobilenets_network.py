"""MobileNetV1 and V2 for images of 32 x 32, trained in float32, and as ONNX files with their batch norms.

The blocks are those of Howard et al. (arXiv 1704.04861) and Sandler et al. (arXiv 1801.04381); widths,
depths and strides are cut to images of CIFAR-10 and to processors of two cores.
"""

# torch is needed to remake the models only; the simulator does without it.
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
SIZE = 32
# What a pixel stands for: (p - PIXEL_ZERO) * PIXEL_SCALE.
PIXEL_SCALE, PIXEL_ZERO = 1 / 64, 128


class Layer(nn.Module):
    """Convolution, batch norm, and a ReLU6 unless it is a bottleneck's end."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1,
        linear: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        pad = kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        made = self.norm(self.conv(x))
        return made if self.linear else functional.relu6(made)


class Block(nn.Module):
    """Layers in a row; with a shortcut around them where ``residual``."""

    def __init__(self, layers: list[Layer], residual: bool = False) -> None:
        super().__init__()
        self.layers, self.residual = nn.ModuleList(layers), residual

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for layer in self.layers:
            made = layer(made)
        return made + x if self.residual else made


class MobileNet(nn.Module):
    def __init__(self, blocks: list[Block], width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.classes = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.classes(x.mean(dim=(2, 3)))


def mobilenet_v1() -> MobileNet:
    """Width 0.25; the first layer keeps the image's size."""
    widths = [8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    blocks = [Block([Layer(3, widths[0], 3)])]
    for before, after, stride in zip(widths, widths[1:], strides, strict=False):
        blocks.append(
            Block([Layer(before, before, 3, stride, groups=before), Layer(before, after, 1)])
        )
    return MobileNet(blocks, widths[-1])


def mobilenet_v2() -> MobileNet:
    """Width 0.35, with fewer repetitions of each block."""
    first, last = 16, 256
    blocks, before = [Block([Layer(3, first, 3)])], first
    for widening, after, repeats, stride in (
        (1, 8, 1, 1), (6, 8, 1, 2), (6, 16, 2, 2), (6, 24, 2, 2), (6, 32, 2, 1), (6, 56, 1, 2),
        (6, 112, 1, 1),
    ):  # fmt: skip
        for i in range(repeats):
            step, wide = stride if i == 0 else 1, widening * before
            layers = [Layer(before, wide, 1)] if widening > 1 else []
            layers += [
                Layer(wide, wide, 3, step, groups=wide), Layer(wide, after, 1, linear=True)
            ]  # fmt: skip
            blocks.append(Block(layers, residual=step == 1 and before == after))
            before = after
    blocks.append(Block([Layer(before, last, 1)]))
    return MobileNet(blocks, last)


NETWORKS: dict[str, Callable[[], MobileNet]] = {
    "mobilenet_v1": mobilenet_v1,
    "mobilenet_v2": mobilenet_v2,
}


def to_float(pixels: np.ndarray) -> Tensor:
    """uint8 images (n, 32, 32, 3) as float32 (n, 3, 32, 32)."""
    real = (pixels.astype(np.float32) - PIXEL_ZERO) * np.float32(PIXEL_SCALE)
    return torch.from_numpy(real).permute(0, 3, 1, 2)


def _varied(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Images moved by up to 4 pixels, half of them mirrored."""
    padded = np.pad(pixels, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=PIXEL_ZERO)
    made = np.empty_like(pixels)
    moves = generator.integers(0, 9, (len(pixels), 2))
    for i, (row, column) in enumerate(moves):
        made[i] = padded[i, row : row + SIZE, column : column + SIZE]
    mirrored = generator.random(len(pixels)) < 0.5
    made[mirrored] = made[mirrored, :, ::-1]
    return made


def train(
    name: str, x: np.ndarray, y: np.ndarray, epochs: int, seed: int, told: Callable[[str], object]
) -> MobileNet:
    """A trained network; the learning rate rises for a fifth of the time and falls to 0."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    net = NETWORKS[name]().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    batch = 128
    steps = len(x) // batch
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.2, total_steps=epochs * steps, pct_start=0.2
    )
    for epoch in range(epochs):
        net.train()
        order, total = generator.permutation(len(x)), 0.0
        for start in range(0, steps * batch, batch):
            chosen = order[start : start + batch]
            images = to_float(_varied(x[chosen], generator))
            made = net(images.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(made, torch.from_numpy(y[chosen].astype(np.int64)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        told(f"{name} epoch {epoch + 1}/{epochs}: loss {total / steps:.4f}")
    return net.eval()


def write_onnx(net: MobileNet, path: Path, name: str) -> None:
    """The float network with its norms, NCHW, one image at a time.

    With ReLU where it was trained with ReLU6: a factor of a channel passes the one and not the other, so
    that channels can be equalized (Nagel et al., Data-Free Quantization, arXiv 1906.04721, do the same).
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[TensorProto] = []

    def constant(label: str, values: Tensor) -> str:
        constants.append(numpy_helper.from_array(values.detach().numpy().copy("C"), label))
        return label

    def add(kind: str, inputs: list[str], output: str, **attrs: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attrs))
        return output

    def layer(held: Layer, value: str, label: str) -> str:
        conv, norm = held.conv, held.norm
        pads, strides = [*conv.padding, *conv.padding], list(conv.stride)
        weights = constant(f"{label}/kernel", conv.weight.contiguous())
        value = add(
            "Conv", [value, weights], f"{label}/sums", group=conv.groups, pads=pads,
            strides=strides, kernel_shape=list(conv.kernel_size),
        )  # fmt: skip
        assert norm.running_mean is not None
        assert norm.running_var is not None
        parts = {
            "gain": norm.weight, "beta": norm.bias, "mean": norm.running_mean,
            "variance": norm.running_var,
        }  # fmt: skip
        given = [value, *(constant(f"{label}/{k}", v) for k, v in parts.items())]
        value = add("BatchNormalization", given, f"{label}/norm", epsilon=norm.eps)
        return value if held.linear else add("Relu", [value], f"{label}/relu")

    value = "image"
    for i, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        start = value
        for j, held in enumerate(block.layers):
            assert isinstance(held, Layer)
            value = layer(held, value, f"block{i}/{j}")
        if block.residual:
            value = add("Add", [value, start], f"block{i}/add")
    value = add("GlobalAveragePool", [value], "mean")
    value = add("Flatten", [value], "features")
    dense = [
        constant("classes/weights", net.classes.weight),
        constant("classes/bias", net.classes.bias),
    ]
    add("Gemm", [value, *dense], "logits", transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(nodes, name, [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
