"""Every error a user can cause, each with where it happened, what was given and what is allowed."""

from __future__ import annotations

_MOST_LETTERS = 2000  # at either end of a message


class NpusimError(Exception):
    """Base of all errors caused by input; the command line prints it and exits with code 2.

    ``where`` names the file, key, node or argument; ``problem`` says what was given and why it does
    not do; ``allowed`` says what would.
    """

    exit_code = 2

    def __init__(self, where: str, problem: str, allowed: str = "") -> None:
        self.where = where
        self.problem = problem
        self.allowed = allowed
        super().__init__(
            _one_line(f"{where}: {problem}" + (f"; allowed: {allowed}" if allowed else ""))
        )

    def __reduce__(self) -> tuple[type[NpusimError], tuple[str, str, str]]:
        # Exception would be rebuilt from its one-line text, which is not what __init__ takes.
        return type(self), (self.where, self.problem, self.allowed)


def _one_line(text: str) -> str:
    """``text`` without line breaks and control characters, which file content may smuggle in, and of a
    length that a terminal can show: names and lists of a file may have any."""
    if len(text) > 2 * _MOST_LETTERS:
        text = f"{text[:_MOST_LETTERS]} ... {text[-_MOST_LETTERS:]}"
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


class ModelError(NpusimError):
    """A model file that cannot be read or holds something unsupported."""


class DeviceError(NpusimError):
    """A device description, or an energy table, that is not valid."""


class DataError(NpusimError):
    """Inputs or a labelled data set that do not fit the model."""


class CompileError(NpusimError):
    """A valid model that this valid device cannot run."""


class ProgramError(NpusimError):
    """A program, or its text form, that breaks an invariant."""


class UsageError(NpusimError):
    """A wrong argument on the command line or in a call."""


class CrosscheckError(NpusimError):
    """A reference runtime that is missing or refuses the model."""
