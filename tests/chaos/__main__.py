"""Kills servers and workers at random under load, and checks that nothing was lost.

make chaos                                            50 kills, ten minutes at most
make chaos ARGS="--kills 10 --minutes 3 --seed 7"     shorter, from another seed
make chaos ARGS="--workers real --keep /tmp/chaos"    real trainings only; keep everything
.venv/bin/python -m chaos -o json                     (in tests/) the counts as JSON

Exits with 1 where something is counted that must be 0; the history, the data directory and the
server's log are kept then. The seed gives the same plan again, but never the same moments.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from chaos.report import as_json, as_table
from chaos.torture import Options, torture


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="deaths (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="at most, all in all (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, help="of the plan (default: drawn, and said)")
    parser.add_argument(
        "--workers",
        choices=("small", "real"),
        default="small",
        help="small: one in six is a real training (default); real: all are",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep history, data and log in this new folder"
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if options.kills < 1 or options.minutes <= 0:
        parser.error("--kills and --minutes must be above 0")
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    if options.keep is not None:
        folder = options.keep.absolute()
        folder.mkdir(parents=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="mltetris-chaos-"))
    print(f"seed {seed}; everything is in {folder}", file=sys.stderr)
    verdict, records = torture(
        Options(options.kills, options.minutes, seed, options.workers), folder
    )
    if options.output == "json":
        print(as_json(verdict, records, seed))
    else:
        print(as_table(verdict, records))
    if verdict.good and options.keep is None:
        shutil.rmtree(folder)
    elif not verdict.good:
        print(f"broken promises (seed {seed}); everything is kept in {folder}", file=sys.stderr)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
