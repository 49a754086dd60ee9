"""What writing a dataset costs beside playing, and how much memory it takes.

The same player on the same threads, by turns: playing alone (the kernel `play`, nothing kept), and
a simulation from its first placement to the SHA-256 of its last file. Where other work shares the
machine, seconds of CPU time, of all threads together, say more than those of the clock: both are
given.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import new_games
from mltetris_server.learning.kernels import play
from mltetris_server.learning.player import Player, make_eye
from mltetris_server.learning.reference import FOLDER
from mltetris_server.learning.simulation.crew import Crew
from mltetris_server.learning.simulation.plan import Plan
from mltetris_server.learning.simulation.recording import Origin, Recording
from mltetris_server.worker.cores import available_cores

from bench.report import Row, as_table, median

ROUNDS = 5
GAME = GameConfig()
MEGABYTE = 1024 * 1024


def reference_player(name: str) -> Player:
    """A reference player, as a worker gets it."""
    folder = FOLDER / name
    model = json.loads((folder / "manifest.json").read_bytes())["model"]
    files = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    return Player.from_checkpoint(model, files)


class Seconds(NamedTuple):
    """What something took."""

    clock: float
    cpu: float


class Watch:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._clock, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> Seconds:
        """What has passed."""
        return Seconds(time.perf_counter() - self._clock, time.process_time() - self._cpu)


def play_alone(player: Player, placements: int, threads: int) -> Seconds:
    """What so many placements take, on all threads together."""

    def work(number: int) -> None:
        eye = make_eye(player.features, GAME.width, player.fatal_value)
        left, game = placements // threads, number
        while left > 0:
            games = new_games(GAME, 1, game)
            left -= play(games, player.network, eye, np.zeros(1, np.uint8), 2**62, left)
            game += threads

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    watch = Watch()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return watch.stop()


def simulate(
    player: Player, observed: FeatureSet, placements: int, threads: int, folder: Path
) -> tuple[Seconds, int]:
    """What a simulation takes, and the bytes of its dataset."""
    place = Path(tempfile.mkdtemp(dir=folder))
    watch = Watch()
    plan = Plan(player, GAME, observed, seed=1, threads=threads, placements=placements)
    origin = Origin("bench", "bench", "0" * 64, "reference", GAME, observed, 0.0, 1)
    crew, recording = Crew(plan), Recording(place, origin)
    crew.start()
    while not crew.done:
        block = crew.take(1.0)
        if block is not None:
            for part in range(len(block.parts)):
                recording.add(block, part)
            crew.put_back(block)
    files = recording.finish()
    passed = watch.stop()
    shutil.rmtree(place)
    return passed, sum(file.size for file in files)


def peak_memory(placements: int) -> float:
    """Most resident memory of a process that simulates, in bytes."""
    command = [sys.executable, "-m", "bench.simulation", "--peak", str(placements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def print_peak(placements: int) -> None:
    """Simulate, and print this process's most resident memory."""
    with tempfile.TemporaryDirectory() as folder:
        threads = available_cores()
        simulate(reference_player("bcts"), FeatureSet.BCTS, placements, threads, Path(folder))
    print(_peak_bytes())


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says there is at least what the process had that started this one.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(folder: Path, *, quick: bool = False) -> list[Row]:
    """The figures, as rows of a report."""
    threads = available_cores()
    sys.setswitchinterval(0.0005)
    placements = 1_000_000
    bcts, random = reference_player("bcts"), reference_player("random")
    play_alone(bcts, 1000, threads)
    for observed in (FeatureSet.BCTS, FeatureSet.SIMPLE, FeatureSet.BOARD):
        simulate(bcts, observed, 1000, threads, folder)
    alone: list[Seconds] = []
    seconds: dict[FeatureSet, list[Seconds]] = {
        observed: [] for observed in (FeatureSet.BCTS, FeatureSet.SIMPLE, FeatureSet.BOARD)
    }
    sizes = {}
    for _ in range(2 if quick else ROUNDS):
        for observed, taken in seconds.items():
            alone.append(play_alone(bcts, placements, threads))
            passed, sizes[observed] = simulate(bcts, observed, placements, threads, folder)
            taken.append(passed)
    how = f"{threads} threads, 10x20, {placements:,} placements"
    speed = placements / median(taken.clock for taken in alone)
    rows = [Row("bcts playing alone", speed, "placements/s", "", how)]
    count = len(seconds)
    for k, (observed, taken) in enumerate(seconds.items()):
        pairs = list(zip(alone[k::count], taken, strict=True))
        wanted = ">= 0.5" if observed is FeatureSet.BCTS else ""
        speed = placements / median(one.clock for one in taken)
        cpu = median(before.cpu / one.cpu for before, one in pairs)
        clock = median(before.clock / one.clock for before, one in pairs)
        rows += [
            Row(f"simulated, {observed}", speed, "placements/s", "", how),
            Row("  of the speed alone, CPU time", cpu, "times", wanted, "median of pairs"),
            Row("  of the speed alone, by the clock", clock, "times", "", "median of pairs"),
            Row("  dataset", sizes[observed] / placements, "bytes/placement"),
        ]
    short = 20_000 if quick else 100_000
    passed, size = simulate(random, FeatureSet.BCTS, short, threads, folder)
    rows += [
        Row(
            "random simulated, bcts",
            short / passed.clock,
            "placements/s",
            "",
            "games of 19 placements",
        ),
        Row("  dataset", size / short, "bytes/placement"),
    ]
    for millions in (1, 4):
        peak = peak_memory(millions * 1_000_000) / MEGABYTE
        rows.append(Row(f"peak memory, {millions} million placements", peak, "MiB", "", how))
    return rows


def main() -> None:
    """Print the figures."""
    if sys.argv[1:2] == ["--peak"]:
        print_peak(int(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(as_table(measure(Path(folder), quick=True)))


if __name__ == "__main__":
    main()
