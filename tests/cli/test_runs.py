"""Commands about runs."""

from __future__ import annotations

import pytest
from mltetris_client import Trainer
from support.cli import Cli
from support.server import ServerProcess
from support.small import in_state


def test_train_returns_at_once_and_says_how_to_watch(cli: Cli, trainer: Trainer) -> None:
    result = cli.good("train", "--name", "mine", "--seed", "0", "--max-seconds", "600")
    run = result.out.strip()
    assert result.out == f"{run}\n"
    assert f"mltetris watch {run}" in result.err
    found = trainer.get_run(run)
    assert found.display_name == "mine"
    assert found.training.HasField("seed") and found.training.seed == 0
    trainer.stop_run(run)


def test_flags_reach_the_spec(cli: Cli, trainer: Trainer) -> None:
    result = cli.good(
        *("train", "-o", "json", "--learning-rate", "0.01", "--training-height", "12"),
        *("--target-lines", "500", "--width", "8", "--rule", "published", "--mode", "headless"),
        *("--evaluation-games", "3", "--request-id", "once"),
    )
    run = result.json
    assert run["kind"] == "training"
    assert run["training"]["td"]["learning_rate"] == 0.01
    assert run["training"]["td"]["training_height"] == 12
    assert run["training"]["budget"]["target_mean_lines"] == 500
    assert run["training"]["game"]["rule"] == "published"
    assert run["training"]["evaluation"]["games"] == 3
    assert run["training"]["mode"] == "headless"
    assert cli.good("train", "--request-id", "once").out.strip() == run["id"]
    trainer.stop_run(run["id"])


def test_steering_the_newest_run(cli: Cli, trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    assert cli.good("pause").out.startswith(f"{run.id}  paused")
    assert cli.good("resume", "-o", "json").json["state"] == "running"
    prefix = run.id[:-1]
    assert "at 30/s" in cli.good("speed", prefix, "30").out
    assert cli.good("speed", "0.5", "-o", "json").json["control"]["placements_per_second"] == 0.5
    control = cli.good("speed", "--training", "500", "-o", "json").json["control"]
    assert (control["placements_per_second"], control["max_training_rate"]) == (0.5, 500)
    assert "at most 500/s" in cli.good("show").out
    cli.good("speed", prefix, "--training", "0")
    control = cli.good("speed", prefix, "7", "--training", "9", "-o", "json").json["control"]
    assert (control["placements_per_second"], control["max_training_rate"]) == (7, 9)
    control = cli.good("mode", "headless", "training", "-o", "json").json["control"]
    assert (control["mode"], control["view"]) == ("headless", "training")
    control = cli.good("mode", run.id, "showcase", "-o", "json").json["control"]
    assert (control["mode"], control["view"]) == ("headless", "showcase")
    changed = cli.good("set", "--name", "x", "--target-lines", "9", "-o", "json").json
    assert changed["display_name"] == "x"
    changed = cli.good("set", "--max-placements", "7", "-o", "json").json
    assert changed["training"]["budget"]["target_mean_lines"] == 9
    assert changed["training"]["budget"]["max_placements"] == 7
    changed = cli.good("set", "--reset", "budget", "-o", "json").json
    assert (changed["training"]["budget"] or {}).get("target_mean_lines") is None
    assert cli.good("stop").out.startswith(f"{run.id}  stopped")
    assert cli.good("rm", run.id).out == f"{run.id}\n"
    assert cli("show", run.id).code == 4


def test_ps_and_show(cli: Cli, trainer: Trainer) -> None:
    run = trainer.start_training(display_name="[bold]odd name", seed=4, max_seconds=600)
    in_state(trainer, run.id, "running")
    out = cli.good("ps").out
    assert run.id in out and "running" in out
    assert "[bold]odd" in out
    listed = cli.good("ps", "-o", "json", "--state", "running").json
    assert run.id in [item["id"] for item in listed]
    assert {item["state"] for item in listed} == {"running"}
    shown = cli.good("show", run.id).out
    assert "10 min 00 s" in shown and "seed" in shown
    shown = cli.good("show", run.id, "-o", "json").json
    assert shown["training"]["budget"]["max_duration"] == 600.0
    assert isinstance(shown["metrics"] and shown["metrics"]["placements"], (int, type(None)))
    trainer.stop_run(run.id)
    assert run.id in cli.good("ps", "-q", "--state", "stopped").out.split()
    assert run.id in cli.good("rm", "--ended", "-o", "json").json["removed"]


def test_demos(cli: Cli, trainer: Trainer) -> None:
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    trainer.save_slot("player", run=run.id, checkpoint="latest")
    trainer.stop_run(run.id)
    result = cli.good("demo", "player", "player", "--games", "2", "--speed", "9", "-o", "json").json
    assert result["kind"] == "demo"
    assert result["demo"]["slots"] == ["player", "player"]
    assert result["demo"]["placements_per_second"] == 9
    cli.good("stop", result["id"])
    trainer.delete_slot("player", force=True)


@pytest.mark.parametrize("place", ["flag", "global flag", "environment", "config"])
def test_where_the_server_is_named(alone: Cli, shared: ServerProcess, place: str) -> None:
    """Each place overrides the ones after it, which name a server that is not there."""
    config = alone.folder / "config.toml"
    nobody = "127.0.0.1:1"
    arguments = ["ps"]
    environment = {"MLTETRIS_SERVER": nobody}
    config.write_text(f'server = "{nobody}"\noutput = "json"\n')
    if place == "flag":
        arguments = ["--server", nobody, "ps", "--server", shared.address]
    elif place == "global flag":
        arguments = ["--server", shared.address, "ps"]
    elif place == "environment":
        environment = {"MLTETRIS_SERVER": shared.address}
    else:
        environment = {}
        config.write_text(f'server = "{shared.address}"\noutput = "json"\n')
    result = alone(*arguments, environment=environment)
    assert result.code == 0, result
    assert isinstance(result.json, list)  # `output` of the config file holds, too
    assert not alone(*arguments, "-o", "table", environment=environment).out.startswith("[")
