"""Where the shipped data (``hwconfigs/`` and ``workloads/``) lies: beside the package in a source
checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_folder(name: str) -> Path:
    """Folder of shipped data called ``name`` (``hwconfigs`` or ``workloads``)."""
    packed = _PACKAGE / "_data" / name
    return packed if packed.is_dir() else _PACKAGE.parent / name
