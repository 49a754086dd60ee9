"""The course of `mltetris up`: server, training, live view, slot, summary, end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer
from mltetris_api.v1 import run_pb2
from mltetris_client import MlTetrisError, NotFound, Run, Trainer
from mltetris_client.channel import is_loopback

from mltetris_cli.connecting import open_own, own_environment
from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.live import lines, ramp, show, words
from mltetris_cli.live.follower import Follower
from mltetris_cli.live.live_show import LiveShow
from mltetris_cli.live.steering import save_under_free_name
from mltetris_cli.live.summary import print_summary
from mltetris_cli.server_process import ServerProcess, check_listen, free_listen_address
from mltetris_cli.session import Session, print_json_line
from mltetris_cli.signals import terminating
from mltetris_cli.window import window_beside

# A server of our own has nobody to restart it: its worker need not wait for that.
_GRACE_S = "5"
_JSON_PERIOD_S = 2.0
_MAX_FPS = 15.0
# On a terminal: how long and at what pace (placements/s) the model plays at the end, and how much
# time a training must have for a slow start.
_ENCORE_S = 20.0
_ENCORE_SPEED = 20.0
_LEAST_SECONDS_TO_STAGE = 60.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `mltetris up` was asked for."""

    target_lines: float
    max_seconds: float
    seed: int | None
    listen: str | None
    keep: bool
    viewer: bool
    show: bool


def run_up(session: Session, wishes: Wishes) -> None:
    """Does all of it.

    Raises:
        typer.Exit: with the exit code, where it is not 0.
        CliError, MlTetrisError: it cannot be done.
        Terminated: SIGTERM or SIGHUP came; the server is stopped.
    """
    listen, default_port = (
        (wishes.listen, True) if wishes.listen is not None else free_listen_address()
    )
    with terminating(), ExitStack() as stack:
        check_listen(listen)
        if not listen.startswith("unix:") and not is_loopback(listen):
            raise CliError(
                f"{listen} can be reached from other machines, and `mltetris up` is for this one",
                "For others there is `mltetris serve --listen HOST:PORT`, and `mltetris train`.",
                ExitCode.USAGE,
            )
        session.say("starting the server ...")
        server = stack.enter_context(
            ServerProcess(
                listen=listen,
                data_dir=session.settings.data_dir,
                arguments=("--grace", _GRACE_S, "--log-level", "warning"),
            )
        )
        if not default_port:
            session.say(f"port 50051 is taken: this server listens on {server.address}")
        trainer = stack.enter_context(open_own(server.address))
        live = not session.json and show.on_terminal(session.console)
        staged = live and wishes.show and wishes.max_seconds >= _LEAST_SECONDS_TO_STAGE
        run = trainer.start_training(
            display_name="up",
            target_lines=wishes.target_lines,
            max_seconds=wishes.max_seconds,
            seed=wishes.seed,
            evaluation_games=20,
            max_training_rate=ramp.STEPS[0][0] if staged else None,
        )
        if wishes.viewer:
            stack.enter_context(window_beside(server.address, run.id, own_environment()))
        code = _train(session, server, trainer, run, live=live, staged=staged, keep=wishes.keep)
        if wishes.keep and code != ExitCode.INTERRUPT:
            _keep_serving(session, server)
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _train(
    session: Session,
    server: ServerProcess,
    trainer: Trainer,
    run: Run,
    *,
    live: bool,
    staged: bool,
    keep: bool,
) -> int:
    """Shows the training to its end, saves its model and says what came out."""
    with Follower(trainer, run, max_fps=_MAX_FPS if live else 0.0) as follower:
        if live:
            ending = LiveShow(
                trainer,
                follower,
                stop_on_leaving=True,
                slow_start=staged,
                check=server.check,
            ).run(session.console)
        elif session.json:
            ending = show.show_lines(
                trainer,
                follower,
                lambda: print_json_line(lines.progress_json(follower)),
                stop_on_leaving=True,
                period=_JSON_PERIOD_S,
                check=server.check,
            )
        else:
            ending = show.show_lines(
                trainer,
                follower,
                show.write_text(follower),
                stop_on_leaving=True,
                check=server.check,
            )
        final = trainer.get_run(run.id)
        follower.adopt(final)
        slot = _save(session, trainer, final)
        if staged and slot is not None and ending is show.Ending.FINISHED:
            _let_it_play(session, trainer, follower, slot, check=server.check)
        if session.json:
            print_json_line(lines.summary_json(follower, slot=slot))
        elif final.state != run_pb2.RUN_STATE_FAILED:
            print_summary(
                session.console,
                follower,
                slot=slot,
                data_dir=server.data_dir,
                serving=server.address if keep else None,
            )
    if final.state == run_pb2.RUN_STATE_FAILED:
        raise CliError(words.error_words(final), _log_hint(server.data_dir, final.id))
    return ExitCode.INTERRUPT if ending is show.Ending.INTERRUPTED else ExitCode.OK


def _save(session: Session, trainer: Trainer, run: Run) -> str | None:
    """Saves the best model in a slot of its own; None where there is none yet."""
    try:
        return save_under_free_name(trainer, run, f"up-{run.id.rpartition('-')[2]}")
    except NotFound:
        return None
    except MlTetrisError as error:
        if run.state != run_pb2.RUN_STATE_FAILED:
            raise
        session.say(f"the model could not be saved: {error.message}")
        return None


def _let_it_play(
    session: Session, trainer: Trainer, learnt: Follower, slot: str, *, check: Callable[[], None]
) -> None:
    """Lets the model that was learnt play for a while, or until somebody has seen enough."""
    reached = learnt.run.reason == run_pb2.RUN_REASON_GOAL_REACHED
    caption = "Goal reached! " if reached else "Time is up. "
    caption += "This is how it plays now · q ends, or wait"
    demo = trainer.start_demo([slot], display_name="up", placements_per_second=_ENCORE_SPEED)
    try:
        with Follower(trainer, demo, max_fps=_MAX_FPS) as follower:
            LiveShow(
                trainer,
                follower,
                stop_on_leaving=False,
                learnt=learnt,
                caption=caption,
                limit_s=_ENCORE_S,
                check=check,
            ).run(session.console)
    finally:
        trainer.stop_run(demo.id)
        trainer.delete_run(demo.id)  # a look at the model, nothing to keep


def _keep_serving(session: Session, server: ServerProcess) -> None:
    """Waits for Ctrl-C, or for the server's own end."""
    session.say(f"serving on {server.address} until Ctrl-C")
    try:
        server.wait()
    except KeyboardInterrupt:
        return
    server.check()


def _log_hint(data_dir: Path, run: str) -> str:
    return f"Its log is {data_dir / 'runs' / run / 'worker.log'}."
