"""What commands say when their run has started."""

from __future__ import annotations

from mltetris_api.v1 import run_pb2
from mltetris_client import Run, Trainer

from mltetris_cli.invocation import command
from mltetris_cli.jsonify import to_json
from mltetris_cli.session import Session
from mltetris_cli.watching import watch_run

_MAX_FPS = 15.0


def announce(
    session: Session, trainer: Trainer, run: Run, *, follow: bool, progress_only: bool = False
) -> None:
    """Writes the id (or the run as JSON) to stdout; then watches, or says how to.

    See `watch_run` for ``progress_only``.
    """
    if follow:
        session.say(f"started {run.id}")
        watch_run(session, trainer, run, max_fps=_MAX_FPS, progress_only=progress_only)
        return
    session.show(lambda: to_json(run), lambda: run.id)
    name = command()
    if run.state == run_pb2.RUN_STATE_QUEUED:
        session.say(f"queued: {name} ps")
    where = f" --server {session.settings.server}" if session.settings.server else ""
    session.say(f"watch it with: {name} watch {run.id}{where}")
