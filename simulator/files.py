"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from simulator.errors import UsageError


def check_target(target: str | None) -> None:
    """An error now rather than after a long run where ``target`` cannot be written."""
    if target in (None, "-"):
        return
    path = Path(target)
    if path.is_dir():
        raise UsageError(str(path), "is a folder", "the path of a file to write, or -")
    if not path.parent.is_dir():
        raise UsageError(
            str(path), f"cannot be written: there is no folder {str(path.parent)!r}",
            "a file in a folder that exists, or -",
        )  # fmt: skip
    if not os.access(path.parent, os.W_OK):
        raise UsageError(str(path), f"cannot be written: no permission in {str(path.parent)!r}")


def write_text(path: Path, text: str) -> None:
    """As :func:`write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name, then rename; a device or a pipe is written to directly."""
    path = Path(os.path.realpath(path))  # renaming onto a link would replace the link
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path, content)
    except OSError as error:
        raise UsageError(str(path), f"cannot be written: {error.strerror}") from None


def _replace(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:  # an interrupt as well must leave nothing behind
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
