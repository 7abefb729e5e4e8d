"""`python -m bench [PART …] [DATABASE …]`: measures, prints tables, writes bench/results/."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from pathlib import Path

from bench.filling import EVENTS, Filled
from bench.parts import PARTS, Run, keep
from bench.raw import RAW

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """0 when everything was measured, whatever came out of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="PART or DATABASE",
        help=f"some of {', '.join(PARTS)} and some of {', '.join(RAW)}; all of them if none is named",
    )  # fmt: skip
    parser.add_argument("--dry", action="store_true", help="write nothing into bench/results/")
    parser.add_argument(
        "--events", type=int, default=EVENTS, help="how many the store for pages and downloads holds; fewer imply --dry"
    )
    parser.add_argument(
        "--filled", action="append", default=[], metavar="URL",
        help="a store that make_demo or an earlier run filled, to be read instead of making one (may be given again)",
    )  # fmt: skip
    given = parser.parse_args()
    unknown = set(given.names) - RAW.keys() - PARTS.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is not known; choose from {', '.join([*PARTS, *RAW])}")
    reachable = [name for name in RAW if name == "sqlite" or os.environ.get(f"TEST_{name.upper()}_URL")]
    databases = [name for name in RAW if name in given.names] or reachable
    parts = [name for name in PARTS if name in given.names] or list(PARTS)
    sentences = []
    with tempfile.TemporaryDirectory(prefix="projectionist-bench-") as name:
        at, folder = dt.datetime.now(dt.UTC).replace(microsecond=0), Path(name)
        filled = Filled(folder, tell, given.events, given.filled)
        run = Run(at, databases, folder, filled, RESULTS, tell)
        try:
            for part in parts:
                outcome = PARTS[part](run)
                print(outcome.text)
                sentences += outcome.missed
                if not given.dry and given.events == EVENTS:
                    keep(outcome, run)
        finally:
            filled.drop()
    for left_out in [name for name in RAW if name not in databases]:
        print(f"{left_out} was not measured.")
    for sentence in sentences:
        print(f"MISSED {sentence}")
    return 0


def tell(text: str) -> None:
    """Progress, where tables don't go."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
