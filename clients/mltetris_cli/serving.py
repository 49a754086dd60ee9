"""The course of `mltetris serve`."""

from __future__ import annotations

import typer

from mltetris_cli.exits import Terminated
from mltetris_cli.invocation import command
from mltetris_cli.server_process import ServerProcess
from mltetris_cli.session import Session
from mltetris_cli.signals import terminating


def run_serve(session: Session, listen: str, arguments: tuple[str, ...]) -> None:
    """Starts the server and waits for its end, or ours.

    Raises:
        typer.Exit: with the server's exit code, if it ended by itself and not with 0.
        CliError: it did not start.
    """
    with (
        terminating(),
        ServerProcess(
            listen=listen,
            data_dir=session.settings.data_dir,
            log_to_terminal=True,
            arguments=arguments,
        ) as server,
    ):
        if session.json:
            ready = {
                "event": "ready",
                "address": server.address,
                "data_dir": str(server.data_dir),
                "pid": server.pid,
            }
            if server.metrics_url:
                ready["metrics"] = server.metrics_url
            session.emit(ready)
        else:
            session.say(
                f"serving on {server.address}, data in {server.data_dir}; Ctrl-C ends it; "
                f"start something with `{command()} train`"
            )
            if server.metrics_url:
                session.say(f"metrics for Prometheus on {server.metrics_url}")
        try:
            code = server.wait()
        except (KeyboardInterrupt, Terminated):
            return
    if code != 0:
        raise typer.Exit(code if code > 0 else 128 - code)
