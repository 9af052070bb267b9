"""An energy table: what ``hwconfigs/energy/<name>.toml`` may say, validated once, then frozen.

Every number has a value, a range, a unit, a status and a source. A status is ``published`` (the
number stands in the source), ``derived`` (computed from published numbers, the source says how) or
``estimated`` (assumed, the source says from what).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from simulator.errors import DeviceError
from simulator.resources import data_folder

Bounds = Literal["value", "low", "high"]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SourceText = Annotated[str, Field(min_length=8)]

_Unit = TypeVar("_Unit", bound=str)
_Model = TypeVar("_Model", bound=BaseModel)

NO_DRAM = "none"  # the only kind whose energy is zero
_NOT_TABLES = ("scaling", "dram")


class Section(BaseModel):
    """Base of everything read from a file of ``hwconfigs/energy/``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Quantity(Section, Generic[_Unit]):
    """One number with its range, unit and origin."""

    value: NotNegative
    low: NotNegative
    high: NotNegative
    unit: _Unit
    status: Literal["published", "derived", "estimated"]
    source: SourceText

    @model_validator(mode="after")
    def _ordered(self) -> Quantity[_Unit]:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"value = {self.value} is not within low = {self.low} and high = {self.high}"
            )
        return self

    def at(self, bounds: Bounds) -> float:
        """The value, or an end of its range."""
        return {"value": self.value, "low": self.low, "high": self.high}[bounds]


Pj = Quantity[Literal["pJ"]]
PjPerBit = Quantity[Literal["pJ/bit"]]
PjPerBit2 = Quantity[Literal["pJ/bit^2"]]
PjPerBitMm = Quantity[Literal["pJ/bit/mm"]]
PjPerMm2 = Quantity[Literal["pJ/mm^2"]]
MwPerMm2 = Quantity[Literal["mW/mm^2"]]
MwPerMib = Quantity[Literal["mW/MiB"]]
Um2PerBit = Quantity[Literal["um^2/bit"]]
Um2PerBit2 = Quantity[Literal["um^2/bit^2"]]
PerCm2 = Quantity[Literal["1/cm^2"]]
Usd = Quantity[Literal["USD"]]
Ratio = Quantity[Literal["1"]]


class Mac(Section):
    """A multiplier costs its coefficient times both operand widths, an adder times its width."""

    multiplier_pj_per_bit2: PjPerBit2
    adder_pj_per_bit: PjPerBit


class Shifter(Section):
    """A shift by an amount that is not fixed, or a normalization, per bit of its width."""

    pj_per_bit: PjPerBit


class Register(Section):
    write_pj_per_bit: PjPerBit


class Scratchpad(Section):
    """SRAM of one bank: read energy grows with the square root of its capacity."""

    read_pj_per_bit_at_8kib: PjPerBit
    write_over_read: Ratio


class Vector(Section):
    """Operations of a lane on 32-bit words, and one read of a 256-byte table."""

    multiply_pj: Pj
    add_pj: Pj
    lookup_pj: Pj


class Dram(Section):
    """Memory behind the DMA, interface included; the same at every node and voltage."""

    pj_per_bit: PjPerBit


class Wire(Section):
    """On-chip wire; follows voltage squared, not the node."""

    pj_per_bit_mm: PjPerBitMm


class Instruction(Section):
    pj: Pj


class Clock(Section):
    """The tree that brings the clock to a square millimetre of chip, for one cycle of it."""

    pj_per_mm2: PjPerMm2


class Leakage(Section):
    """What flows whether or not anything is done. ``low_power_share``: what a low-power process leaks of
    it; ``retention_share``: what is left of an SRAM's where it only keeps its bits, all else off."""

    logic_mw_per_mm2: MwPerMm2
    sram_mw_per_mib: MwPerMib
    low_power_share: Ratio
    retention_share: Ratio


class Area(Section):
    """Cells of arithmetic and registers by width, SRAM macros by capacity. ``overhead``: area of placed,
    clocked and controlled logic over that of its multipliers, adders and registers."""

    multiplier_um2_per_bit2: Um2PerBit2
    adder_um2_per_bit: Um2PerBit
    register_um2_per_bit: Um2PerBit
    sram_um2_per_bit: Um2PerBit
    overhead: Ratio


class Cost(Section):
    """A processed wafer of 300 mm, and the faults on it."""

    wafer_usd: Usd
    defects_per_cm2: PerCm2


class EnergyTable(Section):
    """Energies and areas at ``node_nm`` and ``voltage_v``. Construct with :func:`load_energy_table`."""

    schema_version: Literal[2]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    node_nm: Positive
    voltage_v: Positive
    process: Literal["bulk", "HK-HP", "MG-HP"]
    mac: Mac
    shifter: Shifter
    register_: Register = Field(alias="register")  # BaseModel itself has a `register`
    scratchpad: Scratchpad
    vector: Vector
    wire: Wire
    instruction: Instruction
    clock: Clock
    leakage: Leakage
    area: Area
    cost: Cost

    @model_validator(mode="after")
    def _nothing_is_free(self) -> EnergyTable:
        for key, quantity in quantities(self):
            if quantity.low <= 0:
                raise ValueError(f"{key}.low = {quantity.low}: nothing on a chip comes for 0")
        return self


class DramTable(Section):
    """What a bit to or from each kind of memory behind the DMA costs. Construct with
    :func:`load_dram_table`."""

    schema_version: Literal[2]
    dram: Annotated[dict[str, Dram], Field(min_length=1)]

    @model_validator(mode="after")
    def _only_absence_is_free(self) -> DramTable:
        for key, quantity in quantities(self):
            absent = key == f"dram.{NO_DRAM}.pj_per_bit"
            if absent and quantity.high > 0:
                raise ValueError(f"{key}.high = {quantity.high}: where no memory is, 0")
            if not absent and quantity.low <= 0:
                raise ValueError(f"{key}.low = {quantity.low}: an access costs more than 0")
        return self


def quantities(table: Section) -> Iterator[tuple[str, Quantity[Any]]]:
    """Every number of ``table`` with its dotted key, as the file spells it."""

    def walk(prefix: str, value: object) -> Iterator[tuple[str, Quantity[Any]]]:
        if isinstance(value, Quantity):
            yield prefix, value
        elif isinstance(value, dict):
            for key, item in value.items():
                yield from walk(f"{prefix}.{key}", item)
        elif isinstance(value, BaseModel):
            for name, field in type(value).model_fields.items():
                key = field.alias or name
                yield from walk(f"{prefix}.{key}" if prefix else key, getattr(value, name))

    return walk("", table)


def energy_table_names() -> list[str]:
    """Names of the shipped energy tables."""
    stems = (p.stem for p in (data_folder("hwconfigs") / "energy").glob("*.toml"))
    return sorted(s for s in stems if s not in _NOT_TABLES)


def load_energy_table(name_or_path: str | Path) -> EnergyTable:
    """A shipped energy table by name, or any energy table file by path."""
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == str(name_or_path):
        if str(name_or_path) not in energy_table_names():
            allowed = f"{', '.join(energy_table_names())}, or the path of a .toml file"
            raise DeviceError("energy table", f"no table called {str(name_or_path)!r}", allowed)
        return _shipped(str(name_or_path))
    return read_toml(path, EnergyTable)


@cache
def _shipped(name: str) -> EnergyTable:
    return read_toml(data_folder("hwconfigs") / "energy" / f"{name}.toml", EnergyTable)


@cache
def load_dram_table() -> DramTable:
    """The shipped table of memories behind the DMA."""
    return read_toml(data_folder("hwconfigs") / "energy" / "dram.toml", DramTable)


def table_for(node_nm: float) -> str:
    """The shipped table to take for a node: its own, else that of the next larger one, else the largest."""
    nodes = sorted(float(name.removesuffix("nm")) for name in energy_table_names())
    larger = next((node for node in nodes if node >= node_nm), nodes[-1])
    return f"{larger:g}nm"


def read_toml(path: Path, model: type[_Model]) -> _Model:
    """The content of a TOML file as ``model``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(str(path), f"cannot be read: {error}") from None
    return parse_toml(text, str(path), model)


def parse_toml(text: str, where: str, model: type[_Model]) -> _Model:
    """TOML ``text`` as ``model``; ``where`` names it in errors."""
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(where, f"not valid TOML: {error}") from None
    except ValidationError as error:
        problem, allowed = _explain(error, model)
        raise DeviceError(where, problem, allowed) from None


def _explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """What is wrong with the first wrong key, and what it may be."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(p) for p in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key{more}", ", ".join(_keys_at(model, first["loc"][:-1]))
    if first["type"] == "missing":
        return f"{key}: missing{more}", ""
    if first["type"] == "value_error":
        return f"{key}: {first.get('ctx', {}).get('error')}{more}".removeprefix(": "), ""
    return f"{key} = {first['input']!r}{more}", str(first["msg"]).removeprefix("Input should be ")


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The keys that the section at ``path`` has."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            fields = {f.alias or n: f for n, f in annotation.model_fields.items()}
            annotation = fields[str(part)].annotation
        else:
            # dict[str, Section] or tuple[Section, ...]: the part is a key or an index of it.
            annotation = next(a for a in get_args(annotation) if a not in (str, Ellipsis))
    return [field.alias or name for name, field in annotation.model_fields.items()]
