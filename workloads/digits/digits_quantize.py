"""Post-training int8 quantization of the digits network, and its export as a `.tflite` file."""

# torch and mlxtend are needed to remake the model only; the simulator does without them.
# pyright: reportMissingImports=false

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tflite
import torch
from digits_network import CONVOLUTIONS, GRAPH, OPS, DigitsNet, Images, Layer, to_float

from simulator.exporters._tflite_file import ModelWriter, Quantization

NONE = tflite.ActivationFunctionType.NONE
RELU = tflite.ActivationFunctionType.RELU

SAME_SCALE = (OPS.MAX_POOL_2D, OPS.AVERAGE_POOL_2D, OPS.RESHAPE)

# (version, options table, last part of the output tensor's name).  The versions are the first
# ones of each operator that know int8 (CONV_2D 3: per-channel weights).
FORMAT: dict[int, tuple[int, str, str]] = {
    OPS.CONV_2D: (3, "Conv2DOptions", "Conv2D"),
    OPS.DEPTHWISE_CONV_2D: (3, "DepthwiseConv2DOptions", "DepthwiseConv2D"),
    OPS.ADD: (2, "AddOptions", "Add"),
    OPS.MAX_POOL_2D: (2, "Pool2DOptions", "MaxPool"),
    OPS.AVERAGE_POOL_2D: (2, "Pool2DOptions", "AvgPool"),
    OPS.RESHAPE: (1, "ReshapeOptions", "Reshape"),
    OPS.FULLY_CONNECTED: (4, "FullyConnectedOptions", "MatMul"),
    OPS.SOFTMAX: (2, "SoftmaxOptions", "Softmax"),
}


def per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def affine_range(low: float, high: float) -> Quantization:
    """Quantize [low, high], widened to hold 0: padding and RELU need an exact code for it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255.0))
    return per_tensor(scale, round(-128 - low / scale))


@torch.no_grad()
def calibrate(net: DigitsNet, images: Images) -> dict[str, Quantization]:
    """Choose every activation's int8 parameters from its range over some training images."""
    values = net.activations(to_float(images))
    chosen = {"image": per_tensor(1 / 255, -128)}
    for layer in GRAPH:
        value = values[layer.name]
        if layer.op in SAME_SCALE:
            # The int8 kernels of these operators copy or average codes and never rescale.
            chosen[layer.name] = chosen[layer.inputs[0]]
        elif layer.op == OPS.SOFTMAX:
            # The one output scale the runtime's int8 softmax accepts.
            chosen[layer.name] = per_tensor(1 / 256, -128)
        else:
            chosen[layer.name] = affine_range(float(value.min()), float(value.max()))
    return chosen


def quantize_weights(
    weights: npt.NDArray[np.float32], axis: int | None
) -> tuple[npt.NDArray[np.int8], Quantization]:
    """Quantize symmetrically to [-127, 127], with one scale per index of `axis` if given."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    peak = np.abs(weights).max(axis=others, keepdims=True)
    scale = (np.maximum(peak, 1e-8) / 127.0).astype(np.float32)
    codes = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
    zero_points = np.zeros(scale.size, np.int64)
    return codes, Quantization(scale.reshape(-1), zero_points, axis or 0)


class Exporter:
    """Writes the operators of GRAPH one by one into a model."""

    def __init__(self, net: DigitsNet, images: Images, *, quantized: bool = True) -> None:
        """Take a folded network and the images to calibrate its activations on."""
        self._net = net
        kind = "int8" if quantized else "float32"
        self._writer = ModelWriter("main", f"{kind} classifier of handwritten digits")
        self._chosen = calibrate(net, images) if quantized else {}
        self._shapes = activation_shapes(net, images[:1])
        self._tensors = {"image": self._activation("image", "image")}

    def _activation(self, name: str, layer: str) -> int:
        if not self._chosen:
            return self._writer.add_real_activation(name, self._shapes[layer])
        return self._writer.add_activation(name, self._shapes[layer], self._chosen[layer])

    def run(self) -> bytes:
        """Export the whole graph and return the file's bytes."""
        for layer in GRAPH:
            self._export(layer)
        return self._writer.to_bytes([self._tensors["image"]], [self._tensors[GRAPH[-1].name]])

    def _export(self, layer: Layer) -> None:
        version, options, suffix = FORMAT[layer.op]
        inputs = [self._tensors[name] for name in layer.inputs]
        fields: dict[str, Any] = {}
        if layer.op in (*CONVOLUTIONS, OPS.FULLY_CONNECTED):
            inputs += self._constants(layer)
        if layer.op in (*CONVOLUTIONS, OPS.MAX_POOL_2D, OPS.AVERAGE_POOL_2D):
            same = layer.op in CONVOLUTIONS
            fields["Padding"] = tflite.Padding.SAME if same else tflite.Padding.VALID
            fields["StrideW"] = fields["StrideH"] = layer.stride
        if options == "Pool2DOptions":
            fields["FilterWidth"] = fields["FilterHeight"] = layer.kernel
        if layer.op == OPS.DEPTHWISE_CONV_2D:
            fields["DepthMultiplier"] = 1
        if layer.op == OPS.SOFTMAX:
            fields["Beta"] = 1.0
        elif layer.op == OPS.RESHAPE:
            shape = np.array(self._shapes[layer.name], np.int32)
            inputs.append(self._writer.add_constant(f"{layer.name}/shape", shape))
            fields["NewShape"] = shape.tolist()
        else:
            fields["FusedActivationFunction"] = RELU if layer.relu else NONE
        name = f"{layer.name}/{'Relu' if layer.relu else suffix}"
        output = self._activation(name, layer.name)
        self._writer.add_operator(
            layer.op, version if self._chosen else 1, inputs, [output], options, fields
        )
        self._tensors[layer.name] = output

    def _constants(self, layer: Layer) -> list[int]:
        """Add a layer's weights and bias; return their tensor indices."""
        module: Any = self._net.weighted[layer.name]
        weights, axis = module.weight.detach().numpy(), None
        # torch keeps (out, in / groups, h, w); TFLite wants OHWI, and 1HWC for depthwise.
        if layer.op == OPS.CONV_2D:
            weights, axis = weights.transpose(0, 2, 3, 1), 0
        elif layer.op == OPS.DEPTHWISE_CONV_2D:
            weights, axis = weights.transpose(1, 2, 3, 0), 3
        if not self._chosen:
            return [
                self._writer.add_constant(f"{layer.name}/weights", weights),
                self._writer.add_constant(f"{layer.name}/bias", module.bias.detach().numpy()),
            ]
        # FULLY_CONNECTED has a single scale, which every runtime knows.
        codes, quantization = quantize_weights(weights, axis)
        # A bias is added to the raw accumulator, so it has to be in the accumulator's unit.
        bias_scale = self._chosen[layer.inputs[0]].scale * quantization.scale
        bias = np.round(module.bias.detach().numpy() / bias_scale).astype(np.int32)
        bias_quantization = Quantization(bias_scale, np.zeros(bias_scale.size, np.int64))
        return [
            self._writer.add_constant(f"{layer.name}/weights", codes, quantization),
            self._writer.add_constant(f"{layer.name}/bias", bias, bias_quantization),
        ]


@torch.no_grad()
def activation_shapes(net: DigitsNet, image: Images) -> dict[str, tuple[int, ...]]:
    """Return every activation's shape in TFLite's NHWC order, for a batch of one."""
    shapes = {}
    for name, value in net.activations(to_float(image)).items():
        batch, channels, *size = value.shape
        shapes[name] = (batch, *size, channels)
    return shapes


def count_macs(shapes: dict[str, tuple[int, ...]]) -> int:
    """Count the multiply-accumulates of one inference (convolutions and fully connected)."""
    total = 0
    for layer in GRAPH:
        outputs = int(np.prod(shapes[layer.name]))
        depth = shapes[layer.inputs[0]][-1]
        if layer.op == OPS.DEPTHWISE_CONV_2D:
            total += outputs * layer.kernel**2
        elif layer.op in (OPS.CONV_2D, OPS.FULLY_CONNECTED):
            total += outputs * layer.kernel**2 * depth
    return total
