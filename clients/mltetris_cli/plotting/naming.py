"""What runs are called in a picture, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mltetris_api.v1 import run_pb2
from mltetris_client import Run, name_of

from mltetris_cli.plotting.choices import GroupingName
from mltetris_cli.runs_view import printable

_LONGEST_NAME = 40
_RANDOMIZERS = {"bag7": "7-bag", "uniform": "uniform pieces"}


def labels(runs: Sequence[Run]) -> list[str]:
    """What to call each run: its name, algorithm and id, as far as they tell the runs apart.

    Two runs are never called the same; the ids differ.
    """
    if len(runs) == 1:
        return [name(runs[0]) or runs[0].id]
    chosen = [""] * len(runs)
    for told in (name, algorithm, _id):
        column = [told(run) for run in runs]
        if len(set(column)) > 1:
            chosen = [_joined(pair) for pair in zip(chosen, column, strict=True)]
        if all(chosen) and len(set(chosen)) == len(runs):
            break
    return chosen


def grouped(runs: Sequence[Run], by: GroupingName) -> dict[str, list[int]]:
    """Which runs, by their places in ``runs``, belong together, by what to call them.

    By ``name``, runs without one stay alone.
    """
    if by == "run":
        return {label: [place] for place, label in enumerate(labels(runs))}
    key: Callable[[Run], str] = (lambda run: name(run) or run.id) if by == "name" else algorithm
    groups: dict[str, list[int]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(key(run), []).append(place)
    return groups


def in_common(runs: Sequence[Run]) -> str:
    """What all runs have in common: a name, the algorithm, the features and the game."""
    facts: list[Callable[[Run], str]] = [algorithm, _features, _board, _randomizer, _rule]
    if len(runs) > 1:
        facts.insert(0, name)
    found = [{fact(run) for run in runs} for fact in facts]
    return _joined([values.pop() for values in found if len(values) == 1])


def name(run: Run) -> str:
    """The display name, fit to be shown: printable and not too long."""
    plain = printable(run.display_name).strip()
    return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1] + "…"


def algorithm(run: Run) -> str:
    """The algorithm's short name; empty where the run has not said it yet."""
    return name_of(run_pb2.Algorithm, run.training.algorithm)


def _id(run: Run) -> str:
    return run.id


def _features(run: Run) -> str:
    features = name_of(run_pb2.FeatureSet, run.training.features)
    return f"{features} features" if features else ""


def _board(run: Run) -> str:
    game = run.training.game
    return f"{game.width}x{game.height}" if game.width and game.height else ""


def _randomizer(run: Run) -> str:
    randomizer = name_of(run_pb2.Randomizer, run.training.game.randomizer)
    return _RANDOMIZERS.get(randomizer, randomizer)


def _rule(run: Run) -> str:
    rule = name_of(run_pb2.Rule, run.training.game.rule)
    return f"{rule} rule" if rule else ""


def _joined(parts: Sequence[str]) -> str:
    return " · ".join(part for part in parts if part)
