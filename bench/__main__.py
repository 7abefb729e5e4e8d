"""`python -m bench [DATABASE …]`: measures, prints tables, writes bench/results/."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
import tempfile
from pathlib import Path

from bench.raw import RAW
from bench.report import as_json, markdown, missed
from bench.run import run

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """0 when everything was measured, whatever came out of it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("database", nargs="*", help=f"some of {', '.join(RAW)}; all of them if none is named")
    parser.add_argument("--dry", action="store_true", help="write nothing into bench/results/")
    given = parser.parse_args()
    wanted = given.database or [name for name in RAW if name == "sqlite" or os.environ.get(f"TEST_{name.upper()}_URL")]
    unknown = set(wanted) - RAW.keys()
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))} is not known; choose from {', '.join(RAW)}")
    results = []
    with tempfile.TemporaryDirectory(prefix="projectionist-bench-") as folder:
        for backend in wanted:
            results += run(backend, Path(folder), lambda text: print(text, file=sys.stderr, flush=True))
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    text = markdown(results, at)
    print(text)
    if not given.dry:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{at:%Y-%m-%d}.md").write_text(text)
        (RESULTS / f"{at:%Y-%m-%d}.json").write_text(as_json(results, at))
    for left_out in RAW.keys() - set(wanted):
        print(f"{left_out} was not measured.")
    for sentence in missed(results):
        print(f"MISSED {sentence}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
