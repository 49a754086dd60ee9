"""The `mltetris` command: its commands put together, and one place where errors end."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mltetris_cli.commands import (
    activity,
    bench,
    cert,
    control,
    datasets,
    demo,
    doctor,
    history,
    plot,
    runs,
    serve,
    sim,
    slots,
    stats,
    suggest,
    system,
    train,
    up,
    watch,
)
from mltetris_cli.exits import CliError, ExitCode, Terminated, one_line
from mltetris_cli.options import OutputOption
from mltetris_cli.session import GlobalFlags

app = typer.Typer(
    name="mltetris",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


@app.callback()
def mltetris(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            help="The server. (env MLTETRIS_SERVER, default localhost:50051)",
            show_default=False,
        ),
    ] = None,
    output: OutputOption = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the token that the server asks for. "
            "(env MLTETRIS_TOKEN_FILE, or the token itself in MLTETRIS_TOKEN)",
            show_default=False,
        ),
    ] = None,
    tls_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Connect with TLS to a server whose certificate is of this CA, PEM. "
            "(env MLTETRIS_TLS_CA)",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own certificate, for a server that asks for one. (env MLTETRIS_TLS_CERT)",
            show_default=False,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its private key. (env MLTETRIS_TLS_KEY)", show_default=False
        ),
    ] = None,
) -> None:
    """\b
    Examples:
      mltetris up                       train an agent and watch it get good
      mltetris serve                    only the server; then, elsewhere:
      mltetris train --seed 1           start a training, and return
      mltetris watch                    watch the newest run
      mltetris plot                     draw its learning curve
      mltetris slots save mine          keep its best model
      mltetris demo mine --follow       watch that model play

    Trains agents to play Tetris; shows and steers them while they learn.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no server, 4 not found,
    5 wrong state, 6 not allowed, 130 interrupted. Settings come from flags, then from the
    environment, then from the config file.
    """
    access = {
        "token_file": token_file,
        "tls_ca": tls_ca,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
    }
    context.obj = GlobalFlags(server=server, output=output, access=access)


up.register(app)
serve.register(app)
cert.register(app)
train.register(app)
demo.register(app)
bench.register(app)
sim.register(app)
watch.register(app)
runs.register(app)
history.register(app)
stats.register(app)
activity.register(app)
system.register(app)
plot.register(app)
control.register(app)
slots.register(app)
datasets.register(app)
suggest.register(app)
doctor.register(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    _prepare_streams()
    # What gRPC says on stderr of a handshake that failed, our own error says in words.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    code = run(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our stdout (head, less) has what it wanted: nothing is left to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line; returns the exit code, with every error told on stderr."""
    try:
        result = app(args=list(arguments), prog_name="mltetris", standalone_mode=False)
        return result if isinstance(result, int) else ExitCode.OK
    except CliError as error:
        return _tell(error.message, error.hint, error.exit_code)
    except typer.TyperException as error:
        return _tell_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPT
    except Terminated as signal:
        return signal.exit_code
    except OSError as error:
        return _tell(str(error), "", ExitCode.FAILURE)
    except Exception as error:
        told = _tell_server_error(error)
        if told is None:
            raise
        return told


def _tell(message: str, hint: str, code: int) -> int:
    print(one_line(message, hint), file=sys.stderr, flush=True)
    return int(code)


def _tell_usage(error: typer.TyperException) -> int:
    """Tells what typer found wrong with the command line; the bare command shows its help."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help is on stdout by now
        return ExitCode.USAGE
    path = context.command_path if context is not None else "mltetris"
    return _tell(error.format_message(), f"See `{path} --help`.", error.exit_code)


def _tell_server_error(error: Exception) -> int | None:
    """Tells an error of the SDK; None: it is none, and the SDK may not even be loaded."""
    if "mltetris_client" not in sys.modules:
        return None
    from mltetris_cli.server_errors import tell

    return tell(error)


def _prepare_streams() -> None:
    """Lets a terminal with a small character set show what it can instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
