"""Watching a run from the command line: live, in lines, or as JSON lines."""

from __future__ import annotations

import threading
from typing import Any

import typer
from mltetris_api.v1 import run_pb2
from mltetris_client import Closed, Episode, MetricPoint, Notice, Run, Trainer, is_final

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.invocation import command
from mltetris_cli.jsonify import to_json
from mltetris_cli.live import lines, show, words
from mltetris_cli.live.follower import Event, Follower
from mltetris_cli.live.live_show import LiveShow
from mltetris_cli.session import Session, print_json_line


def watch_run(
    session: Session,
    trainer: Trainer,
    run: Run,
    *,
    max_fps: float,
    boards: bool = False,
    progress_only: bool = False,
) -> None:
    """Shows a run until it is final or the watcher leaves; how far it is only, in a line on stderr,
    with ``progress_only``.

    Raises:
        typer.Exit: Ctrl-C was pressed.
        CliError: the run failed.
        MlTetrisError: it cannot be followed.
    """
    if session.json:
        ending = _watch_json(trainer, run, max_fps=max_fps if boards else 0.0)
        final = trainer.get_run(run.id) if ending is show.Ending.FINISHED else None
    elif progress_only:
        with Follower(trainer, run) as follower:
            ending = show.show_progress(trainer, follower)
            final = follower.run
    elif show.on_terminal(session.console):
        with Follower(trainer, run, max_fps=max_fps) as follower:
            ending = LiveShow(trainer, follower, stop_on_leaving=False).run(session.console)
            final = follower.run
            session.say(lines.progress_text(follower))
    else:
        with Follower(trainer, run) as follower:
            ending = show.show_lines(
                trainer, follower, show.write_text(follower), stop_on_leaving=False
            )
            final = follower.run
    if ending is not show.Ending.FINISHED:
        where = f" --server {session.settings.server}" if session.settings.server else ""
        session.say(f"{run.id} goes on; come back with: {command()} watch {run.id}{where}")
    if ending is show.Ending.INTERRUPTED:
        raise typer.Exit(ExitCode.INTERRUPT)
    if final is not None and is_final(final):
        if final.state == run_pb2.RUN_STATE_FAILED:
            raise CliError(words.error_words(final), f"See `{command()} show {run.id}`.")
        if not session.json:
            session.say(f"{run.id} {words.state_word(final)}: {words.reason_word(final)}")
            if final.HasField("simulation"):
                session.say(f"dataset {words.dataset_words(final)}")


def _watch_json(trainer: Trainer, run: Run, *, max_fps: float) -> show.Ending:
    """Writes every change as a JSON line: run, metrics, episode, notice and, if asked, boards."""
    writing = threading.Lock()

    def write(line: dict[str, Any]) -> None:
        with writing:
            print_json_line(line)

    def tell(event: Event) -> None:
        match event:
            case Run():
                write({"type": "run", **to_json(event)})
            case MetricPoint():
                write({"type": "metrics", "run": run.id, **to_json(event)})
            case Episode():
                write({"type": "episode", **to_json(event)})
            case Notice():
                write({"type": "notice", **to_json(event)})

    broken: list[OSError] = []

    def listener(event: Event) -> None:
        try:
            tell(event)
        except OSError as error:  # the reader of our stdout has gone; the main thread says so
            broken.append(error)

    def read_boards() -> None:
        with trainer.stream_board(run.id, max_fps=max_fps) as stream:
            try:
                for response in stream:
                    for frame in response.frames:
                        write({"type": "board", **to_json(frame)})
            except OSError as error:
                broken.append(error)
            except Closed:
                return

    reader = threading.Thread(target=read_boards, daemon=True)
    with Follower(trainer, run, listener=listener) as follower:
        if max_fps > 0:
            reader.start()

        def check() -> None:
            if broken:
                raise broken[0]

        return show.show_lines(trainer, follower, lambda: None, stop_on_leaving=False, check=check)
