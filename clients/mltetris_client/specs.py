"""Specs of runs from plain keyword arguments.

What is left out stays unset and gets its default from the server; ranges and defaults are those of
``protos/mltetris/v1/run.proto``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from mltetris_api.v1 import run_pb2

from mltetris_client.errors import InvalidArgument
from mltetris_client.names import (
    AlgorithmName,
    FeatureSetName,
    ModeName,
    ObservationName,
    RandomizerName,
    RuleName,
    ViewName,
    WarmStartMethodName,
    name_of,
    value_of,
)


class GameOptions(TypedDict, total=False):
    """The game; the same for trainings and demos."""

    width: int | None
    """Columns, 4..32."""
    height: int | None
    """Rows, 4..40."""
    rule: RuleName | None
    """When the game is over."""
    randomizer: RandomizerName | None
    """How the pieces come."""


class BudgetOptions(TypedDict, total=False):
    """When a training ends by itself; the first limit reached ends it."""

    max_placements: int | None
    """Placements to train for."""
    max_seconds: float | None
    """Seconds spent running."""
    target_lines: float | None
    """Mean lines of a greedy evaluation at which the goal is reached."""


class TdOptions(TypedDict, total=False):
    """Hyperparameters of TD, named as in the proto's TdParams."""

    boards: int | None
    rollout_steps: int | None
    gamma: float | None
    td_lambda: float | None
    learning_rate: float | None
    final_learning_rate_fraction: float | None
    exploration_initial: float | None
    exploration_final: float | None
    schedule_placements: int | None
    batch_size: int | None
    epochs: int | None
    window: int | None
    hidden_units: int | None
    death_reward: float | None
    average_decay: float | None
    training_height: int | None


class DqnOptions(TypedDict, total=False):
    """Hyperparameters that only DQN has, named as in the proto's DqnParams."""

    gradient_steps: int | None
    memory: int | None
    learning_starts: int | None
    n_steps: int | None
    target_update: int | None
    target_tau: float | None


class PpoOptions(TypedDict, total=False):
    """Hyperparameters that only PPO has, named as in the proto's PpoParams."""

    gae_lambda: float | None
    clip_range: float | None
    entropy_weight: float | None
    value_weight: float | None
    max_gradient_norm: float | None


class CemOptions(TypedDict, total=False):
    """Hyperparameters that only CEM has, named as in the proto's CemParams."""

    elite: int | None
    games: int | None
    spread: float | None
    noise: float | None
    noise_halving: int | None
    iteration_limit: int | None


class Hyperparameters(TdOptions, DqnOptions, PpoOptions, CemOptions, total=False):
    """Those of all algorithms; a training takes only its own algorithm's."""


class WarmStartOptions(TypedDict, total=False):
    """What a training learns from before it plays for itself."""

    dataset: str | None
    """A dataset's name."""
    dataset_method: WarmStartMethodName | None
    """How it is learnt from: cloning where none is named."""
    dataset_epochs: int | None
    """Passes over it, 1..1000."""
    dataset_placements: int | None
    """Placements of it to learn from at most, 100..10,000,000."""
    dataset_learning_rate: float | None
    """Step size of cloning, above 0 to 1."""


class TrainingOptions(GameOptions, BudgetOptions, Hyperparameters, WarmStartOptions, total=False):
    """Everything a training can be told."""

    algorithm: AlgorithmName | None
    """The learning algorithm; td, or that of the model to go on from."""
    features: FeatureSetName | None
    """What the agent sees."""
    seed: int | None
    """Seed of pieces, weights and exploration, 0..2**64-1."""
    evaluation_games: int | None
    """Greedy games an evaluation, 1..1000."""
    evaluation_period: float | None
    """Seconds of training between two evaluations."""
    evaluation_max_lines: int | None
    """Lines after which an evaluation game is cut off."""
    evaluation_seed: int | None
    """Seed of the first evaluation game."""
    from_slot: str | None
    """A slot to go on from."""
    from_run: str | None
    """A run's checkpoint to go on from: RUN, RUN:best, RUN:latest or RUN:final."""
    threads: int | None
    """Threads that td and cem may learn with."""
    checkpoint_period: float | None
    """Seconds of training between two `latest` checkpoints."""
    mode: ModeName | None
    """Pace of the watched game at the start."""
    view: ViewName | None
    """The watched game at the start."""
    placements_per_second: float | None
    """Pace of the watched game, 0.1..1000."""
    max_training_rate: float | None
    """Placements a second to learn from at most, over all boards; 0: full speed."""


class DemoOptions(GameOptions, total=False):
    """Everything a demo can be told, but its slots."""

    seed: int | None
    """Seed of the pieces, 0..2**64-1."""
    games: int | None
    """Games to play; 0: until stopped."""
    placements_per_second: float | None
    """Pace, 0.1..1000."""
    mode: ModeName | None
    """Pace at the start."""


class SimulationOptions(GameOptions, total=False):
    """Everything a simulation can be told."""

    player: str | None
    """Who plays: a slot, a reference player, or RUN:best, RUN:latest, RUN:final; the active slot
    where none is named."""
    games: int | None
    """Games to play; 100 where placements are not given either."""
    placements: int | None
    """Placements to make; games still going then are cut off."""
    seed: int | None
    """Seed of pieces and exploration, 0..2**64-1."""
    exploration: float | None
    """Probability of a random placement, 0..1."""
    boards: int | None
    """Boards a core plays in turn, 1..256."""
    threads: int | None
    """Cores to play on, 1..64."""
    observation: ObservationName | None
    """What the dataset shows of each state."""
    dataset: str | None
    """The dataset's name; made from the player's where none is given."""


class BenchmarkOptions(GameOptions, total=False):
    """Everything a benchmark can be told, but its players."""

    suite: str | None
    """A suite's name: it decides the game and the limit."""
    games: int | None
    """Games a player, 1..100,000."""
    seed: int | None
    """Seed of the pieces, 0..2**64-1."""
    max_lines: int | None
    """Lines after which a game is cut off, 1..1e9."""
    threads: int | None
    """Games played at once, 1..64."""


def duration(seconds: float, *, field: str) -> Duration:
    """Seconds as the contract's Duration, to the nanosecond.

    Raises:
        InvalidArgument: NaN, infinite, or more than a Duration holds (10,000 years).
    """
    if not math.isfinite(seconds) or abs(seconds) > 315_576_000_000:
        raise InvalidArgument.field(field, f"{seconds} is not a time in seconds")
    whole = math.trunc(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def checkpoint(text: str, *, field: str = "from_run") -> run_pb2.RunCheckpoint:
    """Reads ``RUN`` or ``RUN:best|latest|final``.

    Raises:
        InvalidArgument: the part behind the colon is no checkpoint.
    """
    run, separator, kind = text.partition(":")
    return run_pb2.RunCheckpoint(
        run=run,
        kind=value_of(run_pb2.CheckpointKind, kind if separator else None, field=field),
    )


def player(text: str, *, field: str = "player") -> run_pb2.Player:
    """Reads who plays: a slot's name, or ``RUN:best|latest|final`` of a run's checkpoint.

    Raises:
        InvalidArgument: the part behind the colon is no checkpoint.
    """
    if ":" not in text:
        return run_pb2.Player(slot=text)
    return run_pb2.Player(checkpoint=checkpoint(text, field=field))


def restart_policy(restarts: int, backoff: float | None = None) -> run_pb2.RestartPolicy:
    """How often a run goes on by itself, and after how many seconds the first time.

    Raises:
        InvalidArgument: a value does not fit its field.
    """
    policy = run_pb2.RestartPolicy()
    try:
        policy.max_restarts = restarts
    except (TypeError, ValueError) as error:
        raise InvalidArgument.field("restarts", f"must be 0..1000, not {restarts!r}") from error
    if backoff is not None:
        try:
            policy.backoff.FromNanoseconds(round(backoff * 1e9))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument.field(
                "restart_backoff", f"must be seconds, not {backoff!r}"
            ) from error
    return policy


def budget(**options: Unpack[BudgetOptions]) -> run_pb2.Budget:
    """Builds a Budget; see `BudgetOptions`.

    Raises:
        InvalidArgument: a value does not fit its field.
    """
    return _budget(options)


def game(**options: Unpack[GameOptions]) -> run_pb2.GameSpec:
    """Builds a GameSpec; see `GameOptions`.

    Raises:
        InvalidArgument: a value does not fit its field.
    """
    return _game(options)


def training(**options: Unpack[TrainingOptions]) -> run_pb2.TrainingSpec:
    """Builds a TrainingSpec; see `TrainingOptions`.

    Raises:
        InvalidArgument: an unknown option, one of another algorithm, a value that does not fit
            its field, or both ``from_slot`` and ``from_run``.
    """
    _refuse_unknown(options, TrainingOptions)
    spec = run_pb2.TrainingSpec(
        algorithm=value_of(run_pb2.Algorithm, options.get("algorithm"), field="algorithm"),
        features=value_of(run_pb2.FeatureSet, options.get("features"), field="features"),
        mode=value_of(run_pb2.RunMode, options.get("mode"), field="mode"),
        view=value_of(run_pb2.RunView, options.get("view"), field="view"),
    )
    for name in ("seed", "threads", "placements_per_second", "max_training_rate"):
        _assign(spec, name, options.get(name), f"training.{name}")
    board, limits = _game(options), _budget(options)
    if board.ByteSize():
        spec.game.CopyFrom(board)
    if limits.ByteSize():
        spec.budget.CopyFrom(limits)
    for name in ("games", "max_lines", "seed"):
        value = options.get(f"evaluation_{name}")
        _assign(spec.evaluation, name, value, f"training.evaluation.{name}")
    _assign_hyperparameters(spec, options)
    _assign_durations(spec, options)
    _assign_start(spec, options.get("from_slot"), options.get("from_run"))
    _assign_warm_start(spec, options)
    return spec


def demo(slots: Sequence[str] = (), **options: Unpack[DemoOptions]) -> run_pb2.DemoSpec:
    """Builds a DemoSpec for one to four slots, or the active one; see `DemoOptions`.

    Raises:
        InvalidArgument: an unknown option, or a value that does not fit its field.
    """
    _refuse_unknown(options, DemoOptions)
    spec = run_pb2.DemoSpec(
        slots=slots, mode=value_of(run_pb2.RunMode, options.get("mode"), field="mode")
    )
    for name in ("seed", "games", "placements_per_second"):
        _assign(spec, name, options.get(name), f"demo.{name}")
    board = _game(options)
    if board.ByteSize():
        spec.game.CopyFrom(board)
    return spec


def simulation(**options: Unpack[SimulationOptions]) -> run_pb2.SimulationSpec:
    """Builds a SimulationSpec; see `SimulationOptions`.

    Raises:
        InvalidArgument: an unknown option, or a value that does not fit its field.
    """
    _refuse_unknown(options, SimulationOptions)
    spec = run_pb2.SimulationSpec(
        observation=value_of(
            run_pb2.Observation, options.get("observation"), field="simulation.observation"
        )
    )
    who = options.get("player")
    if who is not None:
        spec.player.CopyFrom(player(who, field="simulation.player"))
    for name in ("games", "placements", "seed", "exploration", "boards", "threads", "dataset"):
        _assign(spec, name, options.get(name), f"simulation.{name}")
    board = _game(options)
    if board.ByteSize():
        spec.game.CopyFrom(board)
    return spec


def benchmark(players: Sequence[str], **options: Unpack[BenchmarkOptions]) -> run_pb2.BenchmarkSpec:
    """Builds a BenchmarkSpec for one to sixteen players; see `player` and `BenchmarkOptions`.

    Raises:
        InvalidArgument: an unknown option, or a value that does not fit its field.
    """
    _refuse_unknown(options, BenchmarkOptions)
    spec = run_pb2.BenchmarkSpec(
        players=[player(text, field=f"benchmark.players[{i}]") for i, text in enumerate(players)],
        suite=options.get("suite") or "",
    )
    for name in ("games", "seed", "max_lines", "threads"):
        _assign(spec, name, options.get(name), f"benchmark.{name}")
    board = _game(options)
    if board.ByteSize():
        spec.game.CopyFrom(board)
    return spec


def _game(options: GameOptions) -> run_pb2.GameSpec:
    message = run_pb2.GameSpec(
        rule=value_of(run_pb2.Rule, options.get("rule"), field="game.rule"),
        randomizer=value_of(run_pb2.Randomizer, options.get("randomizer"), field="game.randomizer"),
    )
    _assign(message, "width", options.get("width"), "game.width")
    _assign(message, "height", options.get("height"), "game.height")
    return message


def _budget(options: BudgetOptions) -> run_pb2.Budget:
    message = run_pb2.Budget()
    _assign(message, "max_placements", options.get("max_placements"), "budget.max_placements")
    _assign(message, "target_mean_lines", options.get("target_lines"), "budget.target_mean_lines")
    seconds = options.get("max_seconds")
    if seconds is not None:
        message.max_duration.CopyFrom(duration(seconds, field="budget.max_duration"))
    return message


def _assign_hyperparameters(spec: run_pb2.TrainingSpec, options: TrainingOptions) -> None:
    algorithm = name_of(run_pb2.Algorithm, spec.algorithm) or "td"
    known = getattr(spec, algorithm).DESCRIPTOR.fields_by_name
    for name in sorted(_names(Hyperparameters)):
        value = options.get(name)
        if value is None:
            continue
        if name not in known:
            raise InvalidArgument.field(name, f"{algorithm} has no such hyperparameter")
        _assign(getattr(spec, algorithm), name, value, f"training.{algorithm}.{name}")


def _assign_durations(spec: run_pb2.TrainingSpec, options: TrainingOptions) -> None:
    period = options.get("evaluation_period")
    if period is not None:
        spec.evaluation.period.CopyFrom(duration(period, field="training.evaluation.period"))
    period = options.get("checkpoint_period")
    if period is not None:
        spec.checkpoint_period.CopyFrom(duration(period, field="training.checkpoint_period"))


def _assign_start(spec: run_pb2.TrainingSpec, slot: str | None, run: str | None) -> None:
    if slot is not None and run is not None:
        raise InvalidArgument.field("from_slot", "give from_slot or from_run, not both")
    if slot is not None:
        spec.slot = slot
    elif run is not None:
        spec.checkpoint.CopyFrom(checkpoint(run, field="training.checkpoint"))


def _assign_warm_start(spec: run_pb2.TrainingSpec, options: WarmStartOptions) -> None:
    method = value_of(
        run_pb2.WarmStartMethod, options.get("dataset_method"), field="training.warm_start.method"
    )
    message = run_pb2.WarmStart(method=method)
    for option, name in (
        ("dataset", "dataset"),
        ("dataset_epochs", "epochs"),
        ("dataset_placements", "max_placements"),
        ("dataset_learning_rate", "learning_rate"),
    ):
        _assign(message, name, options.get(option), f"training.warm_start.{name}")
    if message.ByteSize():
        if not message.dataset:
            raise InvalidArgument.field("training.warm_start.dataset", "name the dataset")
        spec.warm_start.CopyFrom(message)


def _assign(message: Message, name: str, value: object, field: str) -> None:
    """Sets a field unless ``value`` is None; what protobuf refuses becomes InvalidArgument."""
    if value is None:
        return
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise InvalidArgument.field(field, f"{value!r} does not fit ({error})") from error


def _refuse_unknown(options: Mapping[str, object], kind: type) -> None:
    known = _names(kind)
    for name in options:
        if name not in known:
            raise InvalidArgument.field(name, f"there is no such option; known are {sorted(known)}")


def _names(kind: type) -> frozenset[str]:
    """All keys of a TypedDict, inherited ones included."""
    keys = frozenset[str](kind.__optional_keys__ | kind.__required_keys__)  # type: ignore[attr-defined]
    return keys
