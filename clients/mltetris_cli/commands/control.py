"""`mltetris pause`, `resume`, `stop`, `speed`, `mode` and `set`: steering runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import OutputOption, RunArgument, ServerOption
from mltetris_cli.settings import Output

if TYPE_CHECKING:
    from mltetris_client import Run, Trainer

_MODES = ("headless", "visual")
_VIEWS = ("showcase", "training")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for function, name, text in (
        (pause, "pause", "Hold a run."),
        (resume, "resume", "Let a held run go on."),
        (stop, "stop", "End a run; its model is kept."),
        (speed, "speed", "Set the pace of the watched game, or of the training."),
        (mode, "mode", "Set how and which game is watched."),
        (change, "set", "Change learning rate, exploration, budget or evaluations of a live run."),
    ):
        app.command(name, short_help=text, rich_help_panel="Steer")(function)


def pause(
    context: typer.Context,
    run: RunArgument = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris pause                     the newest live run
      mltetris pause train-7k

    Holds a run; it keeps its place and its memory. Returns when it is held.
    """
    _steer(context, run, server, output, lambda trainer, found: trainer.pause_run(found.id))


def resume(
    context: typer.Context,
    run: RunArgument = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris resume
      mltetris resume train-7k

    Lets a held run go on.
    """
    _steer(context, run, server, output, lambda trainer, found: trainer.resume_run(found.id))


def stop(
    context: typer.Context,
    run: RunArgument = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris stop
      mltetris stop train-7k

    Ends a run with its last checkpoint kept; returns when it has ended. A run
    that has ended stays as it is.
    """
    _steer(context, run, server, output, lambda trainer, found: trainer.stop_run(found.id))


def speed(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN] [PACE]",
            help="Placements a second of the watched game, 0.1..1000; before it, a run.",
        ),
    ] = None,
    training: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Placements a second to learn from at most; 0: full speed.",
            show_default=False,
        ),
    ] = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris speed 30                  the newest live run
      mltetris speed train-7k 0.5
      mltetris speed --training 500      slow enough to watch it learn
      mltetris speed --training 0        full speed again

    Sets the pace of the watched game, which counts in visual mode, the rate of
    the training, or both.
    """
    given = list(words or ())
    pace: float | None = None
    if given and (training is None or _is_number(given[-1])):
        text = given.pop()
        if not _is_number(text):
            raise CliError(
                f"{text!r} is not a number of placements a second",
                "Write `mltetris speed [RUN] PACE`, for example `mltetris speed 30`.",
                ExitCode.USAGE,
            )
        pace = float(text)
    if len(given) > 1:
        raise CliError("too many words", "Write `mltetris speed [RUN] PACE`.", ExitCode.USAGE)
    if pace is None and training is None:
        raise CliError(
            "no pace is given", "Write `mltetris speed 30`, or say --training.", ExitCode.USAGE
        )
    _steer(
        context,
        given[0] if given else None,
        server,
        output,
        lambda trainer, found: trainer.set_speed(found.id, pace, max_training_rate=training),
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def mode(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[RUN] [headless|visual] [showcase|training]",
            help="A mode, a view or both; before them, a run.",
        ),
    ],
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris mode headless             full speed; frames are samples
      mltetris mode visual training      slow down and show the training itself
      mltetris mode train-7k showcase    show the policy's own game

    Sets how the watched game is paced (headless, visual) and which one it is:
    the policy's showcase, or board 0 of the training, exploration included.
    """
    modes = [word for word in words if word in _MODES]
    views = [word for word in words if word in _VIEWS]
    others = [word for word in words if word not in _MODES + _VIEWS]
    if len(modes) > 1 or len(views) > 1 or len(others) > 1 or not modes + views:
        raise CliError(
            "name a mode (headless, visual), a view (showcase, training) or both",
            "See `mltetris mode --help`.",
            ExitCode.USAGE,
        )

    def act(trainer: Trainer, found: Run) -> Run:
        return trainer.set_mode(
            found.id,
            mode=modes[0] if modes else None,  # type: ignore[arg-type]
            view=views[0] if views else None,  # type: ignore[arg-type]
        )

    _steer(context, others[0] if others else None, server, output, act)


def change(
    context: typer.Context,
    run: RunArgument = None,
    name: Annotated[str | None, typer.Option(help="A name for people.", show_default=False)] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="From now on, in place of the schedule.", show_default=False),
    ] = None,
    exploration: Annotated[
        float | None,
        typer.Option(help="Random placements, 0..1, in place of the schedule.", show_default=False),
    ] = None,
    target_lines: Annotated[
        float | None, typer.Option(help="The goal, in mean lines.", show_default=False)
    ] = None,
    max_placements: Annotated[
        int | None, typer.Option(help="Placements in all.", show_default=False)
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Seconds in all.", show_default=False)
    ] = None,
    evaluation_period: Annotated[
        float | None,
        typer.Option(help="Seconds of training between two evaluations.", show_default=False),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="learning_rate, exploration: to the schedule; budget: no end; evaluation_period: "
            "to its default. Repeatable.",
            show_default=False,
        ),
    ] = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris set --learning-rate 0.0005
      mltetris set train-7k --target-lines 5000
      mltetris set --evaluation-period 10
      mltetris set --reset learning_rate --reset exploration

    Changes a live run; the rest stays as it is. A budget's other limits stay,
    too.
    """
    limits = {
        "target_lines": target_lines,
        "max_placements": max_placements,
        "max_seconds": max_seconds,
    }
    given = [name, learning_rate, exploration, evaluation_period, *limits.values()]
    if all(value is None for value in given) and not reset:
        raise CliError("nothing to change", "See `mltetris set --help`.", ExitCode.USAGE)

    def act(trainer: Trainer, found: Run) -> Run:
        from mltetris_client import Budget, specs

        budget = None
        if any(value is not None for value in limits.values()):
            budget = Budget()
            budget.CopyFrom(found.training.budget)
            budget.MergeFrom(
                specs.budget(
                    target_lines=target_lines,
                    max_placements=max_placements,
                    max_seconds=max_seconds,
                )
            )
        return trainer.update_run(
            found.id,
            display_name=name,
            learning_rate=learning_rate,
            exploration=exploration,
            budget=budget,
            evaluation_period=evaluation_period,
            reset=reset or (),
        )

    _steer(context, run, server, output, act)


def _steer(
    context: typer.Context,
    run: str | None,
    server: str | None,
    output: Output | None,
    act: Callable[[Trainer, Run], Run],
) -> None:
    """Finds the run, does something with it, and shows it as it is then."""
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.resolve import resolve_run
    from mltetris_cli.runs_view import one_line
    from mltetris_cli.session import Session

    session = Session(context, server, output)
    with session.connect() as trainer:
        after = act(trainer, resolve_run(trainer, run))
    session.show(lambda: to_json(after), lambda: one_line(after))
