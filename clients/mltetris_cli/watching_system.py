"""The course of `mltetris system`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.live import Live

from mltetris_cli.jsonify import to_json
from mltetris_cli.system_view import view

if TYPE_CHECKING:
    from mltetris_client import Trainer

    from mltetris_cli.session import Session


def show_system(session: Session, trainer: Trainer) -> None:
    """Writes how the machine is now."""
    metrics = trainer.get_system_metrics()
    session.show(lambda: to_json(metrics), lambda: view(metrics))


def follow_system(session: Session, trainer: Trainer, period: float) -> None:
    """Writes it every ``period`` seconds until interrupted, which is how it ends."""
    try:
        with trainer.stream_system_metrics(period) as stream:
            if session.json:
                for metrics in stream:
                    session.emit(to_json(metrics))
            elif not session.console.is_terminal:
                for metrics in stream:
                    session.console.print(view(metrics))
            else:
                with Live(console=session.console, auto_refresh=False) as live:
                    for metrics in stream:
                        live.update(view(metrics), refresh=True)
    except KeyboardInterrupt:
        return
