"""The whole way of a dataset with a real worker: played, kept, exported, opened by Minari."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mltetris_client
import pytest
from support.cli import Cli
from support.server import ServerProcess

OPEN = """
import json, minari, sys

dataset = minari.load_dataset(sys.argv[1])
lengths = [len(episode.actions) for episode in dataset.iterate_episodes()]
print(json.dumps({
    "listed": list(minari.list_local_datasets()),
    "episodes": int(dataset.total_episodes),
    "steps": int(dataset.total_steps),
    "lengths": lengths,
}))
"""


@pytest.mark.timeout(400)
def test_a_simulation_becomes_a_minari_dataset(server: ServerProcess, tmp_path: Path) -> None:
    cli = Cli(tmp_path, server.address)
    cli.environment["MINARI_DATASETS_PATH"] = str(tmp_path / "root")
    # Long enough for kernels to be compiled, where they never were.
    result = cli(
        *("sim", "bcts", "--placements", "20000", "--dataset", "experts", "--seed", "0"),
        *("--exploration", "0.02", "--follow"),
        timeout=300,
    )
    assert result.code == 0, result.err
    assert result.out == "experts\n"
    assert "20,000 placements" in result.err
    told = cli.good("datasets", "show", "experts", "-o", "json").json
    assert (told["placements"], told["seed"], told["exploration"]) == (20000, 0, 0.02)
    assert told["game"] == {
        "width": 10, "height": 20, "rule": "gymnasium", "randomizer": "bag7"
    }  # fmt: skip
    with mltetris_client.connect(server.address) as trainer:
        assert told["player_sha256"] == trainer.get_slot("bcts").sha256
        (run,) = trainer.list_runs(kinds=["simulation"])
    assert run.simulation_result.stored
    assert run.simulation_result.size_bytes == told["size_bytes"]

    exported = cli.good("datasets", "export", "experts").out.strip()
    assert exported == str(tmp_path / "root" / "mltetris" / "experts-v0")
    opened = subprocess.run(
        [sys.executable, "-c", OPEN, "mltetris/experts-v0"],
        capture_output=True,
        text=True,
        env=cli.environment,
        check=True,
    )
    found = json.loads(opened.stdout)
    assert found["listed"] == ["mltetris/experts-v0"]
    assert (found["episodes"], found["steps"]) == (told["games"], 20000)
    assert sum(found["lengths"]) == 20000
