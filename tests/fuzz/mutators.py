"""Mutations that know the format: one field of a parsed file made senseless, then written again.

Bytes alone seldom get past the flatbuffer's offsets and the protobuf's lengths; both are kept here, so that
what changes is what the importers look at. Where a file cannot be parsed or written, its bytes are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from google.protobuf.message import Message

_INTEGERS = (
    0, 1, -1, 2, 3, 4, 7, 8, 15, 31, 32, 64, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 20, 1 << 24,
    1 << 28, (1 << 31) - 1, -(1 << 31), (1 << 32) - 1, 1 << 40, 1 << 62, (1 << 63) - 1, -(1 << 63),
)  # fmt: skip
_REALS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-38, 2.0**-126, 2.0**-100, 1e-9, 6.0, 255.0, 2.0**24, 2.0**60,
    3.4e38, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
_TEXTS = ("", "x", "\u2028", "a" * 300, "axis", "SAME_UPPER", "VALID", "ai.onnx", "com.microsoft")
_MOST_EDITS = 4
_MOST_TRIES = 3


def mutator(kind: str) -> Callable[[bytes, int, int], bytes]:
    """The custom mutator (bytes, most bytes, seed) -> bytes for ``tflite`` or ``onnx`` files."""
    edited = {"tflite": _edited_tflite, "onnx": _edited_onnx}[kind]

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        rng = Random(seed)
        way = rng.random()
        if way < 0.05:
            return content[: rng.randrange(len(content) + 1)]
        for _ in range(_MOST_TRIES if way > 0.2 else 0):
            try:
                found = edited(content, rng)
            except Exception:  # whatever the parser or the writer makes of senseless fields
                continue
            if 0 < len(found) <= most:
                return found
        return _changed_bytes(content, rng)[:most]

    return mutate


def _changed_bytes(content: bytes, rng: Random) -> bytes:
    """One to four places overwritten, left out or repeated."""
    made = bytearray(content or b"x")
    for _ in range(rng.randrange(1, _MOST_EDITS)):
        place, way = rng.randrange(len(made)), rng.randrange(5)
        size = rng.choice((1, 2, 4, 8, 32))
        if way == 0:
            made[place] ^= 1 << rng.randrange(8)
        elif way == 1:
            made[place : place + size] = _encoded(rng.choice(_INTEGERS), size)
        elif way == 2 and len(made) > size:
            del made[place : place + size]
        elif way == 3:
            made[place:place] = made[place : place + size]
        else:
            source = rng.randrange(len(made))
            made[place : place + size] = made[source : source + size]
    return bytes(made)


def _encoded(value: int, size: int) -> bytes:
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _edits(rng: Random) -> int:
    """Mostly one: of several the first that the importer refuses hides the others."""
    return rng.choice((1, 1, 1, 2, _MOST_EDITS))


def _number(rng: Random, value: float) -> int:
    return int(rng.choice((*_INTEGERS, int(value) + 1, int(value) - 1, int(value) * 2)))


# --- flatbuffers: the object interface of the schema -------------------------------------------------


def _edited_tflite(content: bytes, rng: Random) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for _ in range(_edits(rng)):
        places = _places(model)
        owner, key = places[rng.randrange(len(places))]
        _edit(owner, key, rng)
    builder = flatbuffers.Builder(len(content) + 256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _places(root: Any) -> list[tuple[Any, Any]]:
    """(owner, attribute or index) of every value below ``root``; the numbers of an array are one value."""
    found: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        inside = enumerate(owner) if isinstance(owner, list) else vars(owner).items()
        for key, value in inside:
            found.append((owner, key))
            if isinstance(value, list) or hasattr(value, "Pack"):
                waiting.append(value)
    return found


def _edit(owner: Any, key: Any, rng: Random) -> None:
    value = owner[key] if isinstance(owner, list) else getattr(owner, key)
    made = _changed(value, rng)
    if isinstance(owner, list):
        owner[key] = made
    elif key == "builtinOptions" and rng.random() < 0.5:
        setattr(owner, key, None)
    else:
        setattr(owner, key, made)


def _changed(value: Any, rng: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return _number(rng, value)
    if isinstance(value, float):
        return rng.choice((*_REALS, value * 2, -value))
    if isinstance(value, np.ndarray):
        return _changed_array(value, rng)
    if isinstance(value, bytes):
        return rng.choice(_TEXTS).encode()
    if isinstance(value, list):
        return _changed_list(value, rng)
    return value


def _changed_array(values: np.ndarray, rng: Random) -> np.ndarray:
    way, size = rng.random(), values.size
    if way < 0.15 or size == 0:
        more = rng.randrange(1, 5)
        return np.append(values, values[:more] if size else np.zeros(more, values.dtype))
    if way < 0.3:
        return values[: rng.randrange(size)]
    made = values.copy()
    place = rng.randrange(size)
    if values.dtype.kind == "f":
        made[place] = rng.choice(_REALS)
    else:
        bits = 8 * values.dtype.itemsize
        made[place] = np.array(_number(rng, int(values[place])) & ((1 << bits) - 1)).astype(
            values.dtype
        )
    return made


def _changed_list(values: list[Any], rng: Random) -> list[Any]:
    if not values:
        return values
    made, place = list(values), rng.randrange(len(values))
    way = rng.randrange(3)
    if way == 0:
        del made[place]
    elif way == 1:
        made.insert(rng.randrange(len(made) + 1), made[place])
    else:
        other = rng.randrange(len(made))
        made[place], made[other] = made[other], made[place]
    return made


# --- protobuf: by reflection -------------------------------------------------------------------------


def _edited_onnx(content: bytes, rng: Random) -> bytes:
    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(_edits(rng)):
        # The texts of the file itself: names of values, which reconnect nodes, and operators.
        texts = [n for node in model.graph.node for n in (*node.input, *node.output, node.op_type)]
        below = _messages(model)
        _edit_message(below[rng.randrange(len(below))], [*texts, *_TEXTS], rng)
    return model.SerializeToString()


def _messages(root: Message) -> list[Message]:
    found, waiting = list[Message](), [root]
    while waiting:
        message = waiting.pop()
        found.append(message)
        for field, value in message.ListFields():
            if field.type == field.TYPE_MESSAGE:
                waiting += list(value) if field.is_repeated else [value]
    return found


def _edit_message(message: Message, texts: list[str], rng: Random) -> None:
    given = [field for field, _ in message.ListFields()]
    # Mostly what is there; sometimes a field that is not.
    fields = given if given and rng.random() < 0.85 else list(message.DESCRIPTOR.fields)
    field = fields[rng.randrange(len(fields))]
    if field.is_repeated:
        _edit_repeated(getattr(message, field.name), field, texts, rng)
    elif field.type == field.TYPE_MESSAGE:
        getattr(message, field.name).SetInParent() if rng.random() < 0.5 else message.ClearField(
            field.name
        )
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(field, getattr(message, field.name), texts, rng))


def _edit_repeated(values: Any, field: Any, texts: list[str], rng: Random) -> None:
    way, place = rng.random(), rng.randrange(len(values)) if len(values) else 0
    message = field.type == field.TYPE_MESSAGE
    if len(values) == 0 or way < 0.2:
        if message:
            made = values.add()
            if len(values) > 1:
                made.CopyFrom(values[place])
        else:
            old = values[place] if len(values) else field.default_value or 0
            values.append(_scalar(field, old, texts, rng))
    elif way < 0.35:
        del values[place]
    elif message:
        other = values[rng.randrange(len(values))]
        copy = type(other)()
        copy.CopyFrom(other)
        values[place].CopyFrom(copy)
    else:
        values[place] = _scalar(field, values[place], texts, rng)


def _scalar(field: Any, old: Any, texts: list[str], rng: Random) -> Any:
    if field.type == field.TYPE_STRING:
        return texts[rng.randrange(len(texts))]
    if field.type == field.TYPE_BYTES:
        way = rng.random()
        return old[: rng.randrange(len(old) + 1)] if way < 0.5 else old + rng.randbytes(4)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return rng.choice(_REALS)
    if field.type == field.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    bits = 31 if field.type == field.TYPE_INT32 else 63
    low, high = -(1 << bits), (1 << bits) - 1
    if field.type in (field.TYPE_UINT64, field.TYPE_UINT32):
        low, high = 0, (1 << 64) - 1
    return min(max(_number(rng, old), low), high)
