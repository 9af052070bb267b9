"""The table of operators and numeric profiles: how the arithmetic of each pair is known."""

from __future__ import annotations

from collections.abc import Mapping

from tabulate import tabulate

from simulator.ops import evidence, operator, operator_names, own_operators
from simulator.profiles import AS_DEFAULT, CHOSEN, DEFAULT, MOVEMENT, PROFILES, RUN, SOURCE, Profile

BEGIN = "<!-- npusim profiles --markdown -->"
END = "<!-- end of npusim profiles --markdown -->"
ABSENT = "-"

_WORDS = {
    RUN: "equal to the profile's runtime in every bit, by a test of this project that runs it; "
    "`run (u8)`: of codes of that type, of others from source",
    SOURCE: "from the runtime's source or documentation, not run here",
    CHOSEN: "this project's own definition: no runtime computes this. Under onnxruntime that goes for "
    "products, averages and softmaxes which the runtime leaves in float32 (4-bit weights, a clamp before "
    "QuantizeLinear, int8 codes it cannot turn into uint8): `npusim verify` says it of each",
    AS_DEFAULT: f"has no arithmetic of its own here, computed as in {DEFAULT}",
    MOVEMENT: "only moves codes, which is the same in every profile",
    ABSENT: "occurs only in files of another profile",
}


def all_operators() -> list[str]:
    """Names of all operators, those of a single profile included."""
    return sorted({*operator_names(), *(n for p in PROFILES for n in own_operators(p))})


def _cell(name: str, profile: str) -> str:
    known = name in operator_names(profile)
    return evidence(operator(name, profile), profile) if known else ABSENT


def profile_table(versions: Mapping[str, str], markdown: bool = False) -> str:
    """Profiles with the runtimes that confirm them, operators by profiles, and what the words mean.

    ``versions``: runtime -> the version that the tests ran.
    """
    fmt = "github" if markdown else "simple"
    profiles = [
        [_name(p.name, markdown), p.title, _runtime(p, versions)] for p in PROFILES.values()
    ]
    first = tabulate(profiles, ["profile", "arithmetic of", "confirmed by"], tablefmt=fmt)
    rows = [
        [name.upper(), *(_cell(name, profile) for profile in PROFILES)] for name in all_operators()
    ]
    second = tabulate(rows, ["operator", *PROFILES], tablefmt=fmt)
    mark = "- " if markdown else ""
    legend = "\n".join(f"{mark}{_name(word, markdown)}: {text}" for word, text in _WORDS.items())
    table = f"{first}\n\n{second}\n\n{legend}"
    return f"{BEGIN}\n\n{table}\n\n{END}" if markdown else table


def _name(word: str, markdown: bool) -> str:
    return f"`{word}`" if markdown else word


def _runtime(profile: Profile, versions: Mapping[str, str]) -> str:
    if not profile.runtime:
        return "-"
    version = versions.get(profile.runtime, "")
    return f"{profile.runtime}: {version}" if version else profile.runtime
