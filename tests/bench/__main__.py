"""Prints the figures the documentation quotes.

make bench                                    everything, about ten minutes
.venv/bin/python -m bench --quick             (in tests/) about two minutes, less exact
.venv/bin/python -m bench -o json service     one part, as JSON
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from pathlib import Path

from bench import engine, learning, policy, service, simulation
from bench.report import Row, as_json, as_table

PARTS = {
    "engine": lambda folder, quick: engine.measure(quick=quick),
    "learning": lambda folder, quick: learning.measure(quick=quick),
    "service": lambda folder, quick: service.measure(folder, quick=quick),
    "policy": lambda folder, quick: policy.measure(folder, quick=quick),
    "simulation": lambda folder, quick: simulation.measure(folder, quick=quick),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--quick", action="store_true", help="shorter, less exact")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    options = parser.parse_args()
    rows: list[Row] = []
    for part in options.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            rows += PARTS[part](Path(folder), options.quick)
    if options.output == "json":
        print(as_json(rows))
        return
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    print(as_table(rows))


if __name__ == "__main__":
    main()
