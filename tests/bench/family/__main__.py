"""Runs the measurements, each seed in a process of its own, and prints the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mltetris_server.learning.warming import warm_up

import bench.family
from bench import engine
from bench.family.learning import FIRST_SEED
from bench.family.rows import MEASUREMENTS, Figures, Measurement
from bench.report import Row, as_json, as_table, median

TESTS = Path(__file__).resolve().parents[2]
ENGINE = "engine"

Results = dict[tuple[str, int], Figures]


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        prog="bench.family",
        description=bench.family.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all; see --list")
    parser.add_argument("--list", action="store_true", help="the parts, and the time each takes")
    parser.add_argument("--seeds", type=int, default=5, help="seeds a part (default 5)")
    parser.add_argument(
        "--first-seed", type=int, default=FIRST_SEED, help="the first of them (default %(default)s)"
    )
    parser.add_argument("--seconds", type=float, help="of learning a seed, in place of the part's")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once, one core")
    parser.add_argument("--results", type=Path, help="JSON lines: what is there is not done again")
    parser.add_argument("-o", "--output", choices=["table", "json"], default="table")
    parser.add_argument("--one", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = options.parts or [ENGINE, *MEASUREMENTS]
    for part in parts:
        if part not in (ENGINE, *MEASUREMENTS):
            parser.error(
                f"there is no part {part!r}; there are {ENGINE}, {', '.join(MEASUREMENTS)}"
            )
    if options.list:
        print(ENGINE)
        for name, measurement in MEASUREMENTS.items():
            print(f"{name:12} {measurement.cores} cores, up to {measurement.seconds:g} s a seed")
        return
    if options.one is not None:
        # Compiled code is loaded before the clock runs.
        warm_up()
        measurement = MEASUREMENTS[parts[0]]
        print(json.dumps(measurement.measure(options.one, options.seconds or measurement.seconds)))
        return
    rows = engine.measure() if ENGINE in parts else []
    results = _read(options.results)
    for part in parts:
        if part != ENGINE:
            seeds = range(options.first_seed, options.first_seed + options.seeds)
            _measure(part, seeds, options, results)
            rows += _rows(MEASUREMENTS[part], [results[part, seed] for seed in seeds])
    if options.output == "json":
        print(as_json(rows))
        return
    print(f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}")
    print(as_table(rows))


def _measure(
    part: str, seeds: Sequence[int], options: argparse.Namespace, results: Results
) -> None:
    """Every seed that there is no result of yet; those of one core several at once."""
    missing = [seed for seed in seeds if (part, seed) not in results]
    jobs = options.jobs if MEASUREMENTS[part].cores == 1 else 1

    def one(seed: int) -> None:
        begin = time.perf_counter()
        command = [sys.executable, "-m", "bench.family", part, "--one", str(seed)]
        if options.seconds:
            command += ["--seconds", str(options.seconds)]
        ended = subprocess.run(command, cwd=TESTS, stdout=subprocess.PIPE, text=True, check=True)
        figures = results[part, seed] = json.loads(ended.stdout)
        took = time.perf_counter() - begin
        told = ", ".join(f"{name} {value:,.6g}" for name, value in figures.items())
        print(f"{part} {seed}: {told} ({took:.0f} s in all)", file=sys.stderr, flush=True)
        if options.results:
            with options.results.open("a") as file:
                file.write(json.dumps({"part": part, "seed": seed, "figures": figures}) + "\n")

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        list(pool.map(one, missing))


def _read(path: Path | None) -> Results:
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["part"], line["seed"]): line["figures"] for line in lines}


def _rows(measurement: Measurement, seeds: Sequence[Figures]) -> Iterator[Row]:
    """A row for each figure: the median over the seeds, and the range; one that a seed did not
    reach counts as infinite."""
    for figure in measurement.figures:
        values = [seed.get(figure.name, float("inf")) for seed in seeds]
        reached = sum(value != float("inf") for value in values)
        note = f"{reached} of {len(seeds)} seeds"
        if reached:
            finite = [value for value in values if value != float("inf")]
            note += f", {min(finite):,.4g} to {max(finite):,.4g}"
        yield Row(figure.what, median(values), figure.unit, figure.wanted, note)


if __name__ == "__main__":
    main()
