"""Comparisons and explanations as text for a terminal."""

from __future__ import annotations

from tabulate import tabulate

from simulator.profiles import CHOSEN
from simulator.report.text import short_name
from simulator.result import (
    Account,
    Difference,
    ElementExplanation,
    HardwareCheck,
    Step,
    TensorComparison,
    Verification,
)


def verification_report(verification: Verification) -> str:
    """What ``npusim verify`` prints."""
    v = verification
    headers = [
        "tensor",
        "operator",
        "elements",
        "equal",
        "off by 1",
        "worse",
        "largest",
        "first",
        "known",
    ]
    table = tabulate(
        [_row(t) for t in v.tensors], headers, tablefmt="simple", disable_numparse=True,
        colalign=("left", "left", "right", "right", "right", "right", "right", "left",
                  "left"),
    )  # fmt: skip
    notes = ""
    if any(t.unit == "ulp" and not t.not_visible for t in v.tensors):
        notes += "\n\nulp: float32 numbers apart; an equal one has the same bits"
    if any(t.evidence == CHOSEN for t in v.tensors):
        notes += (
            f"\n\n{CHOSEN}: computed by this project's own definition, which no runtime has (products that "
            "ONNX Runtime leaves in float32 are sums of integers here)"
        )
    if v.fused:
        notes += "\n\nfused into the operator before, not compared: " + ", ".join(v.fused)
    compared = [t for t in v.tensors if not t.not_visible]
    elements = sum(t.elements for t in compared)
    verdict = f"equal: {len(compared)} tensors, {elements:,} elements"
    if len(compared) < len(v.tensors):
        verdict += f"; {len(v.tensors) - len(compared)} tensors not visible"
    if v.first_difference is not None:
        verdict = f"{v.different:,} of {elements:,} elements differ\n"
        verdict += _difference(v.first_difference)
    samples = f"{v.samples} sample{'s' if v.samples > 1 else ''}"
    return (
        f"{v.model} in profile {v.profile} on {v.device} against {v.against} ({v.runtime_version}), "
        f"{samples}\n\n{table}{notes}\n\n{verdict}"
    )


def hardware_report(check: HardwareCheck) -> str:
    """What ``npusim verify --against rtl`` prints."""
    c = check
    stage = "by the RTL's output stage" if c.staged_by_rtl else "by our output stage of its sums"
    values = f"equal: {c.outputs:,} output codes, {stage}"
    if c.first_difference is not None:
        d = c.first_difference
        values = (
            f"{c.different:,} of {c.outputs:,} output codes differ; first {list(d.index)}: ours {d.ours}, "
            f"the RTL's {d.rtl}"
        )
    cycles = f"equal: {c.rtl_cycles:,} cycles in {c.tiles:,} tiles ({c.folds:,} folds)"
    if c.tiles_apart:
        cycles = (
            f"{c.tiles_apart:,} of {c.tiles:,} tiles take other cycles: ours {c.law_cycles:,} in all, the "
            f"RTL's {c.rtl_cycles:,}"
        )
    return (
        f"{c.operator} {c.layer!r} of {c.model} on {c.device} against its array in SystemVerilog: "
        f"{c.rows} x {c.cols} PEs, {c.dataflow}, {c.overlap} ({c.rtl_version})\n\n"
        f"values {values}\ncycles {cycles}"
    )


def _row(t: TensorComparison) -> list[str]:
    name = short_name(t.name)
    if t.not_visible:
        unseen = f"not visible: {t.not_visible}"
        return [name, t.operator, "-", "-", "-", "-", "-", unseen, t.evidence]
    largest = f"{t.largest_difference:,}" + (" ulp" if t.unit == "ulp" else "")
    first = "" if t.first is None else f"sample {t.first.sample} {list(t.first.index)}"
    counts = (t.elements, t.equal, t.off_by_one, t.worse)
    return [name, t.operator, *(f"{count:,}" for count in counts), largest, first, t.evidence]


def _difference(d: Difference) -> str:
    lines = [
        f"first difference: sample {d.sample}, operator {d.node}, {d.operator} {d.tensor!r} "
        f"{list(d.index)}: ours {d.ours}, theirs {d.theirs}"
    ]
    if d.explanation is not None:
        e = d.explanation
        kept = "" if e.kept == e.accumulator else f", kept as {e.kept}"
        lines.append(
            f"  ours: accumulator {e.accumulator} (bias {e.bias}){kept}, {e.requantizer} multiplier "
            f"{e.multiplier} shift {e.shift}, zero point {e.zero_point}, clamp "
            f"{e.clamp_min}..{e.clamp_max}"
        )
    place = ",".join(str(i) for i in d.index)
    lines.append(f"  step by step: --explain {d.node} {place or repr('')} --sample {d.sample}")
    return "\n".join(lines)


def explanation_report(explanation: ElementExplanation) -> str:
    """What ``npusim verify --explain`` prints."""
    e = explanation
    lines = [
        f"{e.model}, operator {e.node} ({e.operator}), tensor {e.tensor!r}, sample {e.sample}, "
        f"element {list(e.index)}",
        "",
        *_account("ours", e.ours),
    ]
    if e.other is not None:
        lines += ["", *_account("the same operands", e.other)]
    returned = "does not show it" if e.returned is None else f"has {e.returned}"
    lines += ["", f"{e.against} ({e.runtime_version}) {returned}; ours is {e.ours.value}"]
    if e.operands_different is None:
        lines.append("whether its operands equal ours is not visible")
    elif e.operands_different:
        lines.append(
            f"its operands differ from ours in {e.operands_different:,} elements: the first "
            "difference lies earlier"
        )
    else:
        lines.append("its operands equal ours")
    return "\n".join(lines)


def _account(whose: str, account: Account) -> list[str]:
    title = f"{whose}, profile {account.profile}, device {account.device}:"
    return [title, *(_step(s) for s in account.steps), f"  = {account.value}"]


def _step(step: Step) -> str:
    numbers = ", ".join(f"{key} {value}" for key, value in step.numbers.items())
    return f"  {step.name:<12} {step.words}" + (f"\n{'':15}{numbers}" if numbers else "")
