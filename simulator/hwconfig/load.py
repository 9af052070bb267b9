"""Reading a device, and saying in one line what is wrong with it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simulator.errors import DeviceError
from simulator.hwconfig.device import Device
from simulator.hwconfig.sections import OperatingPoint, Source, SplitScratchpad, UnifiedScratchpad
from simulator.resources import data_folder


def parse_device(text: str, where: str) -> Device:
    """A device from TOML ``text``; ``where`` names it in errors."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeviceError(where, f"not valid TOML: {error}") from None
    return device_from_dict(content, where)


def device_from_dict(content: dict[str, Any], where: str) -> Device:
    """A device from nested plain values, as TOML gives them."""
    try:
        return Device.model_validate(_lists_to_tuples(content))
    except ValidationError as error:
        raise DeviceError(where, *_explain(error)) from None


def _lists_to_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists_to_tuples(v) for k, v in value.items()}
    return tuple(_lists_to_tuples(v) for v in value) if isinstance(value, list) else value


# Kinds of pydantic errors whose own words name Python types, and what a TOML file wants instead.
_WANTED = {
    "model_type": "a table", "dict_type": "a table", "tuple_type": "a list", "too_short": "at least 1",
    "string_type": "text", "int_type": "an integer", "int_from_float": "an integer",
    "float_type": "a number", "bool_type": "true or false",
}  # fmt: skip
_SHORTER = {
    "greater than or equal to": "at least", "less than or equal to": "at most",
    "greater than": "above", "String should": "text to",
}  # fmt: skip
_SHOWN = 60  # characters of a wrong value


def _explain(error: ValidationError) -> tuple[str, str]:
    """What is wrong with the first wrong key, and what it may be."""
    found = error.errors(include_url=False)
    # A list whose only item is wrong is reported as too short as well.
    found = [e for e in found if e["type"] != "too_short" or not e["input"]]
    first = found[0]
    # Pydantic puts the chosen union member ("split") into the path; it is no key of the file.
    key = ".".join(str(p) for p in first["loc"] if p not in ("unified", "split")) or "device"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    kind, section = first["type"], tuple(first["loc"][:-1])
    if kind == "extra_forbidden":
        return f"{key}: unknown key{more}", _keys_at(section, False)
    if kind == "missing":
        return f"{key}: missing{more}", f"a table with at least {_keys_at(section, True)}"
    if kind == "union_tag_not_found":
        return f"{key}.layout: missing{more}", "'unified' or 'split'"
    if kind == "union_tag_invalid":
        return f"{key}.layout = {first['input'].get('layout')!r}{more}", "'unified' or 'split'"
    if kind == "value_error":
        return f"{first.get('ctx', {}).get('error')}{more}", ""
    value = first["input"]
    given = repr(list(value) if isinstance(value, tuple) else value)
    given = given if len(given) <= _SHOWN else given[:_SHOWN] + "..."
    message = _WANTED.get(kind, str(first["msg"]).removeprefix("Input should be "))
    for long, short in _SHORTER.items():
        message = message.replace(long, short)
    return f"{key} = {given}{more}", message


def _keys_at(path: tuple[Any, ...], required: bool) -> str:
    """The keys a section has, or must have."""
    model: Any = Device
    for part in path:
        if part == "unified":
            model = UnifiedScratchpad
        elif part == "split":
            model = SplitScratchpad
        elif part == "operating_points":
            model = OperatingPoint
        elif part == "sources":
            model = Source
        elif isinstance(model, type) and part in getattr(model, "model_fields", {}):
            model = model.model_fields[part].annotation
    fields = getattr(model, "model_fields", {}).items()
    return ", ".join(name for name, f in fields if f.is_required() or not required)


def device_names() -> list[str]:
    """Names of the shipped devices."""
    return sorted(p.stem for p in (data_folder("hwconfigs") / "devices").glob("*.toml"))


def load_device(name_or_path: str | Path) -> Device:
    """A shipped device by name, or any device file by path."""
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == str(name_or_path):
        if str(name_or_path) not in device_names():
            allowed = f"{', '.join(device_names())}, or the path of a .toml file"
            raise DeviceError("device", f"no device called {str(name_or_path)!r}", allowed)
        path = data_folder("hwconfigs") / "devices" / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DeviceError(str(path), f"cannot be read: {error.strerror}", "a .toml file") from None
    except UnicodeDecodeError as error:
        raise DeviceError(str(path), f"is not text: {error}", "UTF-8") from None
    return parse_device(text, str(path))


def with_array(device: Device, **changes: Any) -> Device:
    """``device`` with other values of its array, such as ``accumulator_bits``; checked as a file is."""
    return with_keys(device, {"array": changes})


def with_keys(device: Device, changes: dict[str, Any]) -> Device:
    """``device`` with other values, as nested keys of its file; checked as a file is. Sources, which are of
    the file's own numbers, are left out."""
    content = device.model_dump(exclude={"sources"})
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) else value
    return device_from_dict(content, device.name)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a device file, for editors; shipped as ``hwconfigs/device.schema.json``."""
    schema = Device.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
