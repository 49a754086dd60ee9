"""What is asked of a benchmark, checked beyond the contract's own rules, and filled in."""

from __future__ import annotations

from typing import Final

from mltetris_api.v1 import benchmark_pb2, run_pb2, trainer_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.player_names import player_name
from mltetris_server.suites import SUITES, Suite

_GAMES: Final = 20
_MAX_LINES: Final = 10_000


def check(spec: run_pb2.BenchmarkSpec) -> None:
    """Raises InvalidArgument where no benchmark can come of `spec`, whoever its players are."""
    if spec.suite and spec.suite not in SUITES:
        raise InvalidArgument.field(
            "benchmark.suite", f"there is none of that name; known are {', '.join(SUITES)}"
        )
    for field in ("game", "max_lines"):
        if spec.suite and spec.HasField(field):
            raise InvalidArgument.field(
                f"benchmark.{field}", f"the suite {spec.suite} decides it: leave one of them out"
            )
    names: dict[str, int] = {}
    for i, player in enumerate(spec.players):
        name = player_name(player)
        if name in names:
            raise InvalidArgument.field(
                f"benchmark.players[{i}]", f"{name} is players[{names[name]}] already"
            )
        names[name] = i


def resolved(spec: run_pb2.BenchmarkSpec) -> run_pb2.BenchmarkSpec:
    """Returns `spec` with what its suite decides, and defaults that need no worker."""
    full = run_pb2.BenchmarkSpec()
    full.CopyFrom(spec)
    suite = SUITES.get(spec.suite)
    if suite is not None:
        full.game.CopyFrom(game_of(suite))
        if not full.HasField("seed"):
            full.seed = suite.seed
        if suite.max_lines:
            full.max_lines = suite.max_lines
    elif not full.HasField("max_lines"):
        full.max_lines = _MAX_LINES
    if not full.HasField("games"):
        full.games = suite.games if suite is not None else _GAMES
    return full


def is_official(spec: run_pb2.BenchmarkSpec) -> bool:
    """Whether `spec`, resolved, asks for all of a suite, with the suite's own games and seed."""
    suite = SUITES.get(spec.suite)
    return suite is not None and (spec.games, spec.seed) == (suite.games, suite.seed)


def game_of(suite: Suite) -> run_pb2.GameSpec:
    """A suite's game as the contract has it."""
    return run_pb2.GameSpec(
        width=suite.width,
        height=suite.height,
        rule=run_pb2.Rule.Value(f"RULE_{suite.rule.upper()}"),
        randomizer=run_pb2.Randomizer.Value(f"RANDOMIZER_{suite.randomizer.upper()}"),
    )


def suite_message(suite: Suite) -> trainer_pb2.BenchmarkSuite:
    """A suite as the contract has it."""
    return trainer_pb2.BenchmarkSuite(
        name=suite.name,
        description=suite.description,
        game=game_of(suite),
        games=suite.games,
        seed=suite.seed,
        max_lines=suite.max_lines,
        score_kind=benchmark_pb2.ScoreKind.Value(f"SCORE_KIND_{suite.score.upper()}"),
    )


def display_name(spec: run_pb2.BenchmarkSpec) -> str:
    """A name for people, however long."""
    names = " vs ".join(player_name(player) for player in spec.players)
    return f"{spec.suite}: {names}" if spec.suite else names
