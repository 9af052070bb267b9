"""``python -m fuzz [--seconds N] [--seed N] [--folder F] FORMAT...``: fuzz the importers for longer.

Exits with 1 if an input broke a promise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.session import Session, fuzz


def report(kind: str, session: Session) -> bool:
    """Print what a session did; whether all went well."""
    first, last = session.coverage
    print(f"{kind}: {session.inputs:,} inputs, branches reached {first:,} -> {last:,}")
    for outcome, count in sorted(session.outcomes.items()):
        print(f"    {count:>9,}  {outcome}")
    for place, text in session.findings.items():
        print(f"\n{place}: {text}")
    if session.exit_code:
        print(f"\nended with exit code {session.exit_code}:\n{session.log}")
    return not session.findings and session.exit_code == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description="Fuzz the importers.")
    parser.add_argument("formats", nargs="+", choices=("tflite", "onnx"))
    parser.add_argument("--seconds", type=int, default=600, help="per format; default: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--folder", type=Path, default=Path("build/fuzz"), help="of corpora, findings"
    )
    args = parser.parse_args()
    well = [
        report(kind, fuzz(
            kind, args.folder.resolve() / kind, seed=args.seed, seconds=args.seconds, real=True
        ))
        for kind in args.formats
    ]  # fmt: skip
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
