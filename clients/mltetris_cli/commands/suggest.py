"""`mltetris suggest`: asking a slot what to do."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mltetris_cli.options import OutputOption, ServerOption


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("suggest", short_help="Ask a slot where to put a piece.", rich_help_panel="Watch")(
        suggest
    )


def suggest(
    context: typer.Context,
    piece: Annotated[str, typer.Option(metavar="PIECE", help="I, O, T, S, Z, J or L.")],
    board: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The board as text, a line a row, top row first: . is empty, X, 1..7 and the "
            "pieces' letters are filled. -: standard input. (default an empty board)",
            show_default=False,
        ),
    ] = None,
    slot: Annotated[
        str,
        typer.Option(
            metavar="SLOT",
            help="A slot or a reference player (bcts, dellacherie, dt10, random). "
            "(default the active slot)",
            show_default=False,
        ),
    ] = "",
    all_: Annotated[
        bool, typer.Option("--all", help="List every placement, not only the best.")
    ] = False,
    width: Annotated[
        int | None, typer.Option(help="Columns. (default the board's, or 10)", show_default=False)
    ] = None,
    height: Annotated[
        int | None,
        typer.Option(
            help="Rows; a board with fewer stands at the bottom. (default the board's, or 20)",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        Literal["gymnasium", "published"] | None,
        typer.Option(help="When a game is over. (default gymnasium)", show_default=False),
    ] = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris suggest --piece T                on an empty board
      mltetris suggest --piece I --board board.txt --slot bcts
      mltetris suggest --piece S --board - --height 20 < bottom-rows.txt
      mltetris suggest --piece L --all -o json

    Asks a slot where to put a piece, and shows the place on the board, in small
    letters, with the values of the best placements.
    """
    from mltetris_client.positions import position

    from mltetris_cli.board_files import read_board
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.session import Session
    from mltetris_cli.suggest_view import view

    session = Session(context, server, output)
    text = read_board(board) if board is not None else None
    asked = position(text, piece, width=width, height=height, rule=rule)  # type: ignore[arg-type]
    with session.connect() as trainer:
        answer = trainer.suggest_placement(
            asked.cells,
            asked.piece,
            width=asked.width if asked.HasField("width") else None,
            height=asked.height if asked.HasField("height") else None,
            rule=rule,
            slot=slot,
        )
    session.show(
        lambda: to_json(answer),
        lambda: view(
            asked,
            answer.suggestion,
            answer.policy,
            limit=None if all_ else 5,
            color=session.console.is_terminal and not session.console.no_color,
        ),
    )
