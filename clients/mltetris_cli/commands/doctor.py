"""`mltetris doctor` and `mltetris version`."""

from __future__ import annotations

from typing import Annotated

import typer

from mltetris_cli.options import DataDirOption, OutputOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("doctor", short_help="Find out what is wrong.", rich_help_panel="Help")(doctor)
    app.command("version", short_help="Say which version this is.", rich_help_panel="Help")(version)


def doctor(
    context: typer.Context,
    data_dir: DataDirOption = None,
    need_server: Annotated[
        bool, typer.Option("--need-server", help="A server that does not answer is an error.")
    ] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris doctor
      mltetris doctor --need-server --server tetris.example:50051

    Checks what mlTetris needs, and says what to do where something is missing.
    Exits 1 if something is broken.
    """
    from mltetris_cli.checks import Status, run_checks
    from mltetris_cli.doctor_view import table
    from mltetris_cli.session import Session

    session = Session(context, server, output, data_dir=data_dir)
    checks = run_checks(session.settings, need_server=need_server)
    session.show(
        lambda: {
            "ok": all(check.status is not Status.BROKEN for check in checks),
            "checks": [
                {
                    "name": check.name,
                    "status": check.status.value,
                    "found": check.found,
                    "hint": check.hint or None,
                }
                for check in checks
            ],
        },
        lambda: table(checks),
    )
    if any(check.status is Status.BROKEN for check in checks):
        raise typer.Exit(1)


def version(context: typer.Context, output: OutputOption = None) -> None:
    """\b
    Examples:
      mltetris version
      mltetris version -o json

    Says which version of mlTetris this is. `mltetris doctor` knows the
    server's.
    """
    import platform
    from importlib import metadata

    from mltetris_cli.session import Session

    session = Session(context, output=output)
    found = {"mltetris": metadata.version("mltetris"), "python": platform.python_version()}
    session.show(lambda: found, lambda: f"mltetris {found['mltetris']} (Python {found['python']})")
