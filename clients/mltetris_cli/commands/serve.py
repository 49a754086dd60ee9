"""`mltetris serve`: only the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mltetris_cli.options import DataDirOption, OutputOption
from mltetris_cli.settings import DEFAULT_LISTEN


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "serve", short_help="Start a server and keep it until Ctrl-C.", rich_help_panel="Start"
    )(serve)


def serve(
    context: typer.Context,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Where to listen, or unix:/PATH; port 0 is a free one."
        ),
    ] = DEFAULT_LISTEN,
    data_dir: DataDirOption = None,
    max_runs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs that may go at once. (default number of cores)", show_default=False
        ),
    ] = None,
    max_queued: Annotated[
        int | None,
        typer.Option(
            min=1, help="Runs that may wait for a place. (default 1000)", show_default=False
        ),
    ] = None,
    max_watchers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Streams that may be open on one run. (default 1000)", show_default=False
        ),
    ] = None,
    max_streams: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Streams that may be open on one connection. (default 1000)",
            show_default=False,
        ),
    ] = None,
    keep_points_per_run: Annotated[
        int | None,
        typer.Option(
            min=1000,
            help="Metric points of one run; older ones are thinned, peaks stay. (default 10000)",
            rich_help_panel="What is kept",
            show_default=False,
        ),
    ] = None,
    keep_points: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Metric points of all runs; the oldest ended runs give theirs. (default 10000000)",
            rich_help_panel="What is kept",
            show_default=False,
        ),
    ] = None,
    keep_episodes_per_run: Annotated[
        int | None,
        typer.Option(
            min=200,
            help="Games of one run: the newest and the best; a benchmark keeps all. "
            "(default 10000)",
            rich_help_panel="What is kept",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=86400,
            help="Seconds a worker goes on alone when the server dies. (default 60)",
            show_default=False,
        ),
    ] = None,
    metrics_listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where Prometheus may read metrics, without a token; port 0 is a free one. "
            "(default nowhere)",
            show_default=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The server's certificate, PEM.", rich_help_panel="Who may in"
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its private key, PEM.", rich_help_panel="Who may in"),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Let only clients in that have a certificate of this CA, PEM.",
            rich_help_panel="Who may in",
        ),
    ] = None,
    operator_token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The token of those who may do everything. (env MLTETRIS_OPERATOR_TOKEN)",
            rich_help_panel="Who may in",
            show_default=False,
        ),
    ] = None,
    viewer_token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The token of those who may look only. (env MLTETRIS_VIEWER_TOKEN)",
            rich_help_panel="Who may in",
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Listen for other machines even without TLS or without a token.",
            rich_help_panel="Who may in",
        ),
    ] = False,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], typer.Option(help="What is logged.")
    ] = "info",
    log_format: Annotated[
        Literal["console", "json"] | None,
        typer.Option(help="How: for people or for machines. (default by -o)", show_default=False),
    ] = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris serve                          on localhost, port 50051
      mltetris serve --data-dir /data/tetris --max-runs 8
      mltetris serve --metrics-listen 127.0.0.1:9464   for Prometheus, too
      mltetris serve --listen 0.0.0.0:50051 \\
          --tls-cert certs/server.pem --tls-key certs/server-key.pem \\
          --operator-token-file operator.token   for all machines

    Starts a server. It listens for this machine alone, unless it has TLS and a
    token (`mltetris cert` makes certificates to try with) or --insecure is said.
    Its log goes to stderr; with -o json stdout gets one line when it is ready.
    Ctrl-C ends it with every run checkpointed.
    """
    from mltetris_cli.server_process import check_listen
    from mltetris_cli.serving import run_serve
    from mltetris_cli.session import Session

    session = Session(context, output=output, data_dir=data_dir)
    arguments = ["--log-level", log_level]
    arguments += ["--log-format", log_format or ("json" if session.json else "console")]
    for limit, number in (
        ("--max-runs", max_runs),
        ("--max-queued", max_queued),
        ("--max-watchers", max_watchers),
        ("--max-streams", max_streams),
        ("--keep-points-per-run", keep_points_per_run),
        ("--keep-points", keep_points),
        ("--keep-episodes-per-run", keep_episodes_per_run),
        ("--grace", grace),
    ):
        if number is not None:
            arguments += [limit, str(number)]
    if metrics_listen is not None:
        check_listen(metrics_listen)
        arguments += ["--metrics-listen", metrics_listen]
    for flag, file in (
        ("--tls-cert", tls_cert),
        ("--tls-key", tls_key),
        ("--tls-client-ca", tls_client_ca),
        ("--operator-token-file", operator_token_file),
        ("--viewer-token-file", viewer_token_file),
    ):
        if file is not None:
            arguments += [flag, str(file)]
    if insecure:
        arguments.append("--insecure")
    run_serve(session, listen, tuple(arguments))
