"""The course of `mltetris up`: server, training, live view, slot, summary, end."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer
from mltetris_api.v1 import run_pb2
from mltetris_client import MlTetrisError, NotFound, Run, Trainer, connect

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.live import lines, show, words
from mltetris_cli.live.follower import Follower
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


@dataclass(frozen=True, slots=True)
class Wishes:
    """What `mltetris up` was asked for."""

    target_lines: float
    max_seconds: float
    seed: int | None
    listen: str | None
    keep: bool
    viewer: bool


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
        trainer = stack.enter_context(connect(server.address))
        run = trainer.start_training(
            display_name="up",
            target_lines=wishes.target_lines,
            max_seconds=wishes.max_seconds,
            seed=wishes.seed,
            evaluation_games=20,
        )
        if wishes.viewer:
            stack.enter_context(window_beside(server.address, run.id))
        code = _train(session, server, trainer, run, keep=wishes.keep)
        if wishes.keep and code != ExitCode.INTERRUPT:
            _keep_serving(session, server)
    if code != ExitCode.OK:
        raise typer.Exit(code)


def _train(
    session: Session, server: ServerProcess, trainer: Trainer, run: Run, *, keep: bool
) -> int:
    """Shows the training to its end, saves its model and says what came out."""
    live = not session.json and show.on_terminal(session.console)
    with Follower(trainer, run, max_fps=_MAX_FPS if live else 0.0) as follower:
        if live:
            ending = show.show_live(
                trainer, follower, session.console, stop_on_leaving=True, check=server.check
            )
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
