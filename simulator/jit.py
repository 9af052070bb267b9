"""One ``jit`` for the whole package: numba with an on-disk cache that cannot go stale.

Numba keys its cache on the file that holds a function and does not see a change in a helper of
another file. Here the cache folder is named after a digest of every source file of the package, of
numba's version and of Python's, so changed source simply never meets an old cache. Numba itself adds
the processor to the key. Folders of older sources are removed when a new one is made.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
from numba.core import config

# Numba sets this module's attributes when it is imported.
numba_config: Any = config

_F = TypeVar("_F", bound=Callable[..., object])
_KEPT_CACHES = 4


def cache_root() -> Path:
    """Folder of the kernel caches: ``$NPUSIM_CACHE_DIR``, else the user's cache folder."""
    given = os.environ.get("NPUSIM_CACHE_DIR")
    if given:
        return Path(given) / "kernels"
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "npusim" / "kernels"


@cache
def source_digest() -> str:
    """Of everything that numbers depend on but their inputs: the package's source, numba and Python."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256(f"{numba.__version__} {sys.version_info[:3]}".encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _prepare_cache() -> str | None:
    """Make this source's cache folder; ``None`` (no caching) where nothing can be written."""
    folder = cache_root() / source_digest()
    if not folder.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Ours alone: the user may have pointed us at a folder that holds other things.
            ours = [p for p in cache_root().iterdir() if re.fullmatch(r"[0-9a-f]{16}", p.name)]
            for old in sorted(ours, key=lambda p: p.stat().st_mtime)[:-_KEPT_CACHES]:
                shutil.rmtree(old, ignore_errors=True)
        except OSError:
            return None
    return str(folder) if os.access(folder, os.W_OK) else None


_CACHE_FOLDER = _prepare_cache()


def cache_state() -> Literal["warm", "cold", "none"]:
    """``cold``: this source's kernels are about to be compiled once; ``none``: at every start, since no
    folder can be written; ``warm``: there is nothing to wait for."""
    if numba_config.DISABLE_JIT:
        return "warm"
    if _CACHE_FOLDER is None:
        return "none"
    return "warm" if any(Path(_CACHE_FOLDER).rglob("*.nbi")) else "cold"


def jit(function: _F) -> _F:
    """Compile ``function`` with numba (no Python objects, cached, IEEE arithmetic as written); other
    threads run beside it.

    With ``NUMBA_DISABLE_JIT=1`` the function is returned as it is, so that the golden tests can run
    interpreted.
    """
    if numba_config.DISABLE_JIT:
        return function
    before = numba_config.CACHE_DIR
    try:
        # Read by numba while it sets up the function's cache; restored so that other users of numba
        # in this process keep theirs.
        numba_config.CACHE_DIR = _CACHE_FOLDER or before
        compiled = numba.njit(cache=_CACHE_FOLDER is not None, error_model="numpy", nogil=True)(
            function
        )
    finally:
        numba_config.CACHE_DIR = before
    return cast(_F, compiled)
