"""Coverage-guided fuzzing of one importer: ``harness.py tflite|onnx STATS [flags of libFuzzer]``.

Any file must be read, or refused with a :class:`ModelError`, and small graphs must compile or be refused as
well; everything else (another exception, a hang, memory beyond the bound) ends the process with an error.
The bound is the one of ``simulator.importers``, on top of the address space that there is after imports.
Seeds are small models that the tests build. Half of the mutations know the format: fields of the file
become extreme numbers, nodes and names change places.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "importers"), str(TESTS.parent)]

atheris: Any = import_module("atheris")
# Rooms with compiled code come as they are; then the branches of what reads files count.
for room in ("fixedpoint", "dataflows", "program"):
    for path in sorted((TESTS.parent / "simulator" / room).glob("*.py")):
        import_module(f"simulator.{room}.{path.stem}")
with atheris.instrument_imports(include=["simulator"]):
    import simulator.importers.onnx
    import simulator.importers.tflite
    import simulator.ops
    from simulator.profiles import PROFILES

    for profile in PROFILES:
        for name in simulator.ops.operator_names(profile):
            simulator.ops.operator(name, profile)
    from simulator.importers import MEMORY_BYTES, MEMORY_PER_BYTE, load_bytes

import numpy as np
from seeds import onnx_seeds, tflite_seeds

from simulator.compiler import compile_graph
from simulator.errors import CompileError, ModelError
from simulator.graph import Graph
from simulator.npu import exact_device

LONGEST = 1 << 16  # bytes of a mutated file
_COMPILED = 1 << 16  # elements of all tensors of a graph that is compiled as well
_EXTREMES = (0, 1, -1, 2, 127, 128, 255, 2**15, 2**28, 2**31 - 1, -(2**31))
_EVERY = 64


class Target:
    """One importer under test, and what came of its inputs."""

    def __init__(self, suffix: str, stats: Path) -> None:
        self.suffix, self.stats, self.device = suffix, stats, exact_device()
        self.seen: Counter[str] = Counter()

    def __call__(self, content: bytes) -> None:
        self.seen[self._outcome(content)] += 1
        self.seen["executed"] += 1
        if self.seen["executed"] % _EVERY == 0:
            self.stats.write_text(json.dumps(self.seen))

    def _outcome(self, content: bytes) -> str:
        try:
            graph = load_bytes(content, f"fuzzed.{self.suffix}")
        except ModelError:
            return "refused"
        if not _small(graph):
            return "read"
        try:
            compile_graph(graph, self.device)
        except (CompileError, ModelError):
            return "not compiled"
        return "compiled"


def _small(graph: Graph) -> bool:
    return sum(tensor.spec.elements for tensor in graph.tensors.values()) <= _COMPILED


def mutate_tflite(content: bytes, longest: int, seed: int) -> bytes:
    """Words of a flatbuffer (offsets, lengths, numbers) replaced, or bytes as libFuzzer does."""
    rng = random.Random(seed)
    if rng.random() < 0.5 or len(content) < 16:
        return atheris.Mutate(content, longest)
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        width = rng.choice((1, 2, 4, 4))
        place = rng.randrange(len(changed) // width) * width
        old = int.from_bytes(changed[place : place + width], "little")
        new = rng.choice((*_EXTREMES, old + 1, old - 1, old + 4, old - 4, old * 2))
        changed[place : place + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def mutate_onnx(content: bytes, longest: int, seed: int) -> bytes:
    """Fields of the protobuf made senseless, or bytes as libFuzzer does."""
    import onnx

    change: Any = import_module("test_onnx_damage").change
    rng = random.Random(seed)
    if rng.random() < 0.4:
        return atheris.Mutate(content, longest)
    try:
        model = onnx.load_model_from_string(content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            change(model, rng)
        return model.SerializeToString()
    except Exception:  # no protobuf any more
        return atheris.Mutate(content, longest)


def limit_memory(longest: int) -> None:
    """The address space that there is now and what reading ``longest`` bytes may take."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES + MEMORY_PER_BYTE * longest
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(arguments: list[str]) -> None:
    suffix, stats, *flags = arguments
    seeds = tflite_seeds() if suffix == "tflite" else onnx_seeds()
    folder = Path(stats).with_suffix(".corpus")
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(seeds):
        (folder / f"{number:03d}").write_bytes(content)
    target = Target(suffix, Path(stats))
    for content in seeds[:4]:  # what is loaded at first use is loaded before the limit
        target(content)
    limit_memory(LONGEST)
    mutate: Any = mutate_tflite if suffix == "tflite" else mutate_onnx
    atheris.Setup(
        ["harness", str(folder), f"-max_len={LONGEST}", "-timeout=20", "-rss_limit_mb=0", *flags],
        target, custom_mutator=mutate,
    )  # fmt: skip
    np.seterr(all="ignore")
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
