"""Programs of the project that lie outside the package, as modules."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any


def script(path: Path) -> Any:
    """The module in the file ``path``."""
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # what it defines is looked up there
    spec.loader.exec_module(module)
    return module
