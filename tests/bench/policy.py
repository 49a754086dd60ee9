"""How soon a program that embeds a model is answered, with and without a training beside it.

Over loopback, by the SDK, one call after the other, from a process of its own: what a game that
asks for each piece sees. The boards are those of games that the model itself plays.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import mltetris_client
import psutil
from mltetris_client import Trainer, position
from support.server import ServerProcess

from bench.report import Row, quantile
from bench.service import TESTS, training, wait_for_placements

SLOT = "bcts"
_WIDTH, _HEIGHT = 10, 20


def play(trainer: Trainer, calls: int) -> tuple[list[float], list[mltetris_client.Position]]:
    """Plays with what is suggested; returns the seconds of each call, and the boards asked about.

    The game is the client's own: pieces in turn, full rows cleared, a new board when it is over.
    """
    seconds, boards = [], []
    cells = bytearray(_WIDTH * _HEIGHT)
    for number in range(calls):
        piece = number * 5 % 7 + 1
        boards.append(position(bytes(cells), piece))
        begin = time.perf_counter()
        suggestion = trainer.suggest_placement(bytes(cells), piece, slot=SLOT).suggestion
        seconds.append(time.perf_counter() - begin)
        if suggestion.game_over:
            cells = bytearray(_WIDTH * _HEIGHT)
            continue
        for cell in suggestion.best.cells:
            cells[cell] = piece
        rows = [cells[start : start + _WIDTH] for start in range(0, len(cells), _WIDTH)]
        kept = [row for row in rows if not all(row)]
        cells = bytearray(_WIDTH * (_HEIGHT - len(kept))) + b"".join(kept)
    return seconds, boards


def main() -> None:
    """Prints, as JSON, the milliseconds of single calls, and positions a second in batches."""
    address, calls = sys.argv[1], int(sys.argv[2])
    with mltetris_client.connect(address) as trainer:
        play(trainer, 100)
        seconds, boards = play(trainer, calls)
        batch = (boards * (1024 // len(boards) + 1))[:1024]
        rates = []
        for _ in range(5):
            begin = time.perf_counter()
            trainer.suggest_placements(batch, slot=SLOT)
            rates.append(len(batch) / (time.perf_counter() - begin))
    print(json.dumps({"milliseconds": [1000 * each for each in seconds], "rates": sorted(rates)}))


def ask(address: str, calls: int) -> tuple[list[float], float]:
    """Milliseconds of single calls, and the median of positions a second in batches of 1024."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.policy", address, str(calls)],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(result.stdout)
    return told["milliseconds"], told["rates"][len(told["rates"]) // 2]


def measure(folder: Path, *, quick: bool) -> list[Row]:
    """Single calls and batches, alone and beside a training, in turn."""
    calls, pairs = (1000, 1) if quick else (5000, 3)
    found: dict[bool, tuple[list[float], list[float]]] = {False: ([], []), True: ([], [])}
    with ServerProcess(folder) as server, mltetris_client.connect(server.address) as trainer:
        begin = time.perf_counter()
        trainer.suggest_placement(None, "T", slot=SLOT)
        first = time.perf_counter() - begin
        for _ in range(pairs):
            milliseconds, rate = ask(server.address, calls)
            found[False][0].extend(milliseconds)
            found[False][1].append(rate)
            with training(trainer) as run:
                wait_for_placements(trainer, run.id, 300_000)
                milliseconds, rate = ask(server.address, calls)
            found[True][0].extend(milliseconds)
            found[True][1].append(rate)
    rows = [Row("SuggestPlacement, the first one", first, "s", "", "starts the process")]
    for beside, (milliseconds, rates) in found.items():
        where = "beside a training" if beside else "alone"
        # Who shares the machine shares its cores: with a load above them, it is that what is seen.
        load = f"the machine's load {psutil.getloadavg()[0]:.1f}"
        note = f"of {len(milliseconds):,} calls, one after the other; {load}"
        wanted = "< 5 ms" if beside else ""
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)):
            rows.append(
                Row(
                    f"SuggestPlacement {where}, {name}",
                    quantile(milliseconds, share),
                    "ms",
                    wanted if name == "p99" else "",
                    note,
                )
            )
        rows.append(
            Row(f"SuggestPlacements {where}", quantile(rates, 0.5), "boards/s", "", "1,024 a call")
        )
    return rows


if __name__ == "__main__":
    main()
