"""The README's table of real models: ``python tests/models/table.py`` verifies each and prints it.

Every quantized model file below ``../shared/data`` (or the folder given) has a row; with ``--write`` the
README gets the table.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from simulator.crosscheck import verify
from simulator.errors import NpusimError
from simulator.hwconfig import load_device
from simulator.npu import load_model
from simulator.result import Verification

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DATA = ROOT.parent / "shared" / "data"
SAMPLES, DEVICE = 10, "edge-stick"
BEGIN, END = "<!-- tests/models/table.py -->", "<!-- end of tests/models/table.py -->"
# Not quantized: of float32 from end to end.
FLOAT = {
    "ad01_fp32.tflite", "kws_ref_model_float32.tflite", "pretrainedResnet.tflite",
    "vww_96_float.tflite",
}  # fmt: skip
# QONNX sums in float32, where we sum exactly: its rounding shows at the edges of codes and in the last
# places of numbers.
ROUNDED = {"qonnx/espcn_subpixel_quant.onnx", "qonnx/kwsmlp_w3a3.onnx"}
HEADERS = ("model", "against", "operators", "tensors", "elements compared", "differences")


@dataclass(frozen=True)
class Row:
    """One model; ``problem`` says why nothing was compared."""

    model: str
    against: str = "-"
    operators: int = 0
    tensors: int = 0
    elements: int = 0
    different: int = 0
    problem: str = ""

    def cells(self) -> list[str]:
        if self.problem:
            return [f"`{self.model}`", self.against, "-", "-", "-", f"not compared: {self.problem}"]
        counts = (self.operators, self.tensors, self.elements, self.different)
        if self.model in ROUNDED:
            cells = (f"`{self.model}`", self.against, *(f"{count:,}" for count in counts))
            return [*cells[:-1], f"{cells[-1]} *"]
        return [f"`{self.model}`", self.against, *(f"{count:,}" for count in counts)]


def models(folder: Path = DATA) -> list[Path]:
    """Quantized model files, in a fixed order."""
    found = [*folder.rglob("*.tflite"), *folder.rglob("*.onnx")]
    return sorted(path for path in found if path.name not in FLOAT)


def row(path: Path, samples: int, folder: Path = DATA) -> Row:
    """``path`` against the runtime of its format, over ``samples`` random inputs."""
    name = path.relative_to(folder).as_posix()
    try:
        operators = len(load_model(path).nodes)
        found: Verification = verify(path, load_device(DEVICE), samples=samples)
    except NpusimError as error:
        # Without the file's place on this machine, and within a line.
        _, _, node = error.where.partition(": ")
        return Row(name, problem=f"{node} {error.problem}".strip()[:80].replace("|", "/"))
    shown = [t for t in found.tensors if not t.not_visible]
    return Row(
        name, found.against, operators, len(shown), sum(t.elements for t in shown), found.different
    )  # fmt: skip


def table(rows: list[Row], samples: int) -> str:
    """Rows between marks, as Markdown."""
    lines = [list(HEADERS), ["---"] * len(HEADERS), *(r.cells() for r in rows)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    note = f"{samples} random samples each, on `{DEVICE}`."
    if any(r.model in ROUNDED for r in rows):
        note += (
            "\n\n\\* QONNX sums in float32, we sum exactly: its rounding shows at the edges of codes and in"
            "\nthe last places of float32 outputs."
        )
    return f"{BEGIN}\n\n{text}\n\n{note}\n\n{END}"


def replaced(text: str, block: str) -> str:
    """``text`` with ``block`` in place of what lies between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + block + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=DATA)
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    args = parser.parse_args()
    rows = []
    for path in models(args.folder):
        rows.append(row(path, args.samples, args.folder))
        print(" ".join(rows[-1].cells()), file=sys.stderr)
    block = table(rows, args.samples)
    if args.write:
        README.write_text(replaced(README.read_text(encoding="utf-8"), block), encoding="utf-8")
    else:
        print(block)


if __name__ == "__main__":
    main()
