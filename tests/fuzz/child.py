"""The process that fuzzes one importer: libFuzzer's loop, and around each input the promises it must keep.

``python -m fuzz.child KIND REPORT [libFuzzer's options] CORPUS``; ``fuzz.session`` starts it. An input that
breaks a promise is kept beside REPORT, once for each place in the code, and fuzzing goes on; a crash of the
process, or a loop that Python cannot leave, ends it. The report is rewritten as it changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import atheris
import numpy as np
from fuzz.instrumented import READ
from fuzz.limits import at_most
from fuzz.mutators import mutator

from simulator import compile, load_device, simulate
from simulator.datapath.machine import Machine
from simulator.errors import NpusimError
from simulator.graph import Graph
from simulator.importers import memory_bound

# Processor time for one input: reading and running take milliseconds, a kernel's first compilation seconds.
MOST_SECONDS = 60
# What is run of what is read: sizes at which a kernel takes milliseconds.
_MOST_ELEMENTS = 1 << 14
# For compiling and running, of which the bound of reading says nothing.
_RUNNING_BYTES = 4 << 30


class Hang(BaseException):
    """An input took more than ``MOST_SECONDS``; no ``Exception``, so that nothing on the way catches it."""


class Target:
    """What libFuzzer calls with each input."""

    def __init__(self, kind: str, report: Path, corpus: Path) -> None:
        self.read, self.report = READ[kind], report
        # The corpus comes first, and with it the compilation of the kernels, which may take its time.
        self.untimed = len(list(corpus.iterdir()))
        self.device = load_device("wear")
        self.outcomes: Counter[str] = Counter()
        self.findings: dict[str, str] = {}

    def __call__(self, content: bytes) -> None:
        timed = sum(self.outcomes.values()) >= self.untimed
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS if timed else 0)
        try:
            self.outcomes[self._outcome(content)] += 1
        except (Exception, Hang) as error:
            self._found(error, content)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if sum(self.outcomes.values()) % 50 == 0:
            self.write()

    def _outcome(self, content: bytes) -> str:
        try:
            with at_most(memory_bound(len(content))):
                graph = self.read(content, "fuzzed")
        except NpusimError:
            return "refused"
        try:
            with at_most(_RUNNING_BYTES):
                return self._run(graph)
        except NpusimError:
            return "read, not run"

    def _run(self, graph: Graph) -> str:
        if sum(tensor.spec.elements for tensor in graph.tensors.values()) > _MOST_ELEMENTS:
            return "read, too large to run"
        simulate(graph, self.device)
        inputs = {}
        for name in graph.inputs:
            spec = graph.spec(name)
            inputs[name] = np.ones((1, *spec.shape), spec.container)
        Machine(compile(graph, self.device)).run(inputs)
        return "run"

    def _found(self, error: BaseException, content: bytes) -> None:
        """Keep ``content``, unless the like of it was found before."""
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if "/simulator/" in f.filename
        ]
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "outside the package"
        kind = f"{type(error).__name__} at {place}"
        self.outcomes[f"broken: {type(error).__name__}"] += 1
        if kind not in self.findings:
            name = hashlib.sha256(content).hexdigest()[:12]
            (self.report.parent / f"finding-{name}").write_bytes(content)
            text = "".join(traceback.format_exception(error))
            self.findings[kind] = f"finding-{name}\n{text}"
        self.write()

    def write(self) -> None:
        text = json.dumps({"outcomes": self.outcomes, "findings": self.findings}, indent=1)
        self.report.write_text(text, encoding="utf-8")


def _hang(number: int, frame: object) -> None:
    raise Hang(f"more than {MOST_SECONDS} s")


def main(kind: str, report: Path, options: list[str]) -> None:
    signal.signal(signal.SIGPROF, _hang)
    target = Target(kind, report, Path(options[-1]))
    atheris.Setup([sys.argv[0], *options], target, custom_mutator=mutator(kind))
    target.write()
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(os.path.abspath(sys.argv[2])), sys.argv[3:])
