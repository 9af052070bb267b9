"""What the tables of bad input share: one command, refused in one line, leaving nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from simulator import cli, jit

Refused = Callable[..., None]


@pytest.fixture(autouse=True)
def _warm_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    # A test session that starts with an empty cache would see the notice about compiling.
    monkeypatch.setattr(jit, "cache_state", lambda: "warm")


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """Runs ``npusim ARGUMENTS --json OUT`` in ``tmp_path`` and expects exactly ``message``."""
    monkeypatch.chdir(tmp_path)

    def check(message: str, *arguments: str) -> None:
        before = sorted(tmp_path.rglob("*"))
        takes_json = arguments[0] in ("run", "verify") and "--json" not in arguments
        written = ("--json", "out.json") if takes_json else ()
        code = cli.main([*arguments, *written])
        shown = capsys.readouterr()
        assert shown.err == f"npusim: {message}\n"
        assert shown.out == ""
        assert code == 2
        assert sorted(tmp_path.rglob("*")) == before

    return check
