"""What a device must offer to run a command; where it does not, the host runs it."""

from __future__ import annotations

from collections.abc import Callable

from simulator.hwconfig import FLOAT_FUNCTIONS, Device
from simulator.program.commands import Matmul, Vector
from simulator.tensor import TensorSpec

Rule = Callable[[Matmul | Vector, Callable[[str], TensorSpec], Device], bool]


def operands_fit_pes(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> bool:
    """the PEs multiply operands of these widths"""
    if isinstance(command, Vector):
        return True
    array = device.array
    return spec(command.ifmap).bits <= array.ifmap_bits and command.weight_bits <= array.weight_bits


def no_weight_offset_if_folded(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> bool:
    """weights have no zero point, unless the PEs subtract it (array.zero_point = "subtract")"""
    if isinstance(command, Vector):
        return True
    return device.array.zero_point == "subtract" or command.weight_offset == 0


def no_ifmap_offset_if_folded(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> bool:
    """the ifmap's zero point is 0 or folds into the bias, which takes constant weights, unless the PEs
    subtract it (array.zero_point = "subtract")"""
    if isinstance(command, Vector) or command.weight_offset != 0:
        return True  # with a weight offset nothing is folded, and that has a rule of its own
    return device.array.zero_point == "subtract" or command.ifmap_offset == 0


def weights_are_shifts(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> bool:
    """where PEs shift (array.multiplier = "shift"), weights are constant sums of at most array.shift_terms
    signed powers of two"""
    if isinstance(command, Vector) or device.array.multiplier == "full":
        return True
    return 0 < command.shift_terms <= device.array.shift_terms


def function_known(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> bool:
    """the vector unit has the function (vector.functions, vector.float32)"""
    if isinstance(command, Matmul) or command.function in device.vector.functions:
        return True
    return device.vector.float32 and command.function in FLOAT_FUNCTIONS


RULES: tuple[Rule, ...] = (
    operands_fit_pes, no_weight_offset_if_folded, no_ifmap_offset_if_folded, weights_are_shifts,
    function_known,
)  # fmt: skip


def _key(function: str) -> str:
    return "vector.float32" if function in FLOAT_FUNCTIONS else "vector.functions"


def unmet_rules(
    command: Matmul | Vector, spec: Callable[[str], TensorSpec], device: Device
) -> list[str]:
    """What ``device`` lacks to run ``command``; ``spec`` gives the tensors it names."""
    unmet = [(rule.__doc__ or "").strip() for rule in RULES if not rule(command, spec, device)]
    if isinstance(command, Vector) and unmet:
        unmet = [
            f"the vector unit has the function {command.function!r} ({_key(command.function)})"
        ]
    return unmet
