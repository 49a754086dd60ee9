"""`mltetris slots`: keeping models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mltetris_cli.exits import CliError, ExitCode
from mltetris_cli.options import Checkpoint, OutputOption, ServerOption

if TYPE_CHECKING:
    from mltetris_client import Slot

    from mltetris_cli.session import Session

slots_app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The slot's name.")]
NotesOption = Annotated[str | None, typer.Option(help="Free text.", show_default=False)]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", help="A tag. Repeatable.", show_default=False)
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what has that name already.")
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(slots_app, name="slots", short_help="Keep models.", rich_help_panel="Keep")


@slots_app.callback()
def slots() -> None:
    """\b
    Examples:
      mltetris slots ls                        the leaderboard
      mltetris slots ls --by standard-10x20-bag
      mltetris slots save mine                 the newest run's best model
      mltetris slots save now train-7k --checkpoint latest
      mltetris slots use mine                  the one used by default
      mltetris slots export mine mine.slot.zip
      mltetris slots import mine.slot.zip copy

    Keeps models under names, until they are removed. The reference players
    (bcts, dellacherie, dt10, random) are slots that are always there.
    """


@slots_app.command("ls", short_help="List slots, best first.")
def ls(
    context: typer.Context,
    sort: Annotated[
        Literal["score", "name", "create_time"], typer.Option(help="The order.")
    ] = "score",
    by: Annotated[
        str,
        typer.Option(
            metavar="SUITE",
            help="Best newest score in this suite first; see `mltetris bench suites`.",
            show_default=False,
        ),
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only names.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots ls
      mltetris slots ls --by standard-10x20-bag
      mltetris slots ls --sort create_time -o json

    Lists slots: the leaderboard. The active one has a star; reference players,
    which come with mlTetris, have "reference" for a learner. With --by the order
    is that of a suite's scores, which `mltetris bench SLOT ... --suite SUITE`
    makes; slots without one come last.
    """
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.slots_view import table

    session = _session(context, server, output)
    with session.connect() as trainer:
        found = trainer.list_slots(order_by=sort, suite=by)
    if quiet and not session.json:
        for slot in found:
            print(slot.name)
        return
    session.show(lambda: [to_json(slot) for slot in found], lambda: table(found, suite=by))


@slots_app.command("show", short_help="Show everything about a slot.")
def show(
    context: typer.Context,
    name: NameArgument,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots show starter
      mltetris slots show bcts                 a reference player

    Shows what a slot holds, how good it is and where it comes from.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        _show(session, trainer.get_slot(name))


@slots_app.command("save", short_help="Save a run's model.")
def save(
    context: typer.Context,
    name: NameArgument,
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help="A run's id or the beginning of one. Default: the newest live run, "
            "else the newest.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        Checkpoint, typer.Option(help="Which; `latest` of a live run is written first.")
    ] = "best",
    notes: NotesOption = None,
    tag: TagOption = None,
    overwrite: OverwriteOption = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots save mine                       the newest run's best
      mltetris slots save now --checkpoint latest    what the agent is now
      mltetris slots save good train-7k --notes "first above 1,000" --tag td

    Saves a run's checkpoint as a slot.
    """
    from mltetris_cli.resolve import resolve_run

    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.save_slot(
            name,
            run=resolve_run(trainer, run).id,
            checkpoint=checkpoint,
            notes=notes or "",
            tags=tag or (),
            overwrite=overwrite,
        )
    _tell(session, slot, f"saved {slot.name}")


@slots_app.command("cp", short_help="Copy a slot.")
def cp(
    context: typer.Context,
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The copy's name.")],
    notes: NotesOption = None,
    tag: TagOption = None,
    overwrite: OverwriteOption = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots cp starter mine
      mltetris slots cp dt10 mine

    Copies a slot, reference players included.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.save_slot(
            new_name, slot=name, notes=notes or "", tags=tag or (), overwrite=overwrite
        )
    _tell(session, slot, f"copied {name} to {slot.name}")


@slots_app.command("mv", short_help="Rename a slot.")
def mv(
    context: typer.Context,
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="The new name.")],
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots mv mine better

    Renames a slot.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.update_slot(name, new_name=new_name)
    _tell(session, slot, f"renamed {name} to {slot.name}")


@slots_app.command("edit", short_help="Change notes and tags.")
def edit(
    context: typer.Context,
    name: NameArgument,
    notes: NotesOption = None,
    tag: TagOption = None,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Remove every tag.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots edit mine --notes "trained overnight"
      mltetris slots edit mine --tag td --tag bcts     only these tags
      mltetris slots edit mine --no-tags

    Changes a slot's notes, its tags or both.
    """
    if notes is None and not tag and not no_tags:
        raise CliError("nothing to change", "Give --notes, --tag or --no-tags.", ExitCode.USAGE)
    if tag and no_tags:
        raise CliError("--tag and --no-tags exclude each other", "", ExitCode.USAGE)
    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.update_slot(name, notes=notes, tags=() if no_tags else tag or None)
    _tell(session, slot, f"changed {slot.name}")


@slots_app.command("notes", short_help="Show or set the notes.")
def notes(
    context: typer.Context,
    name: NameArgument,
    text: Annotated[
        str | None,
        typer.Argument(help="The new notes. Default: show them.", show_default=False),
    ] = None,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots notes mine
      mltetris slots notes mine "trained overnight"

    Shows a slot's notes, or replaces them.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.get_slot(name) if text is None else trainer.update_slot(name, notes=text)
    from mltetris_cli.runs_view import printable

    plain = "\n".join(printable(line) for line in slot.notes.splitlines())
    session.show(lambda: {"name": slot.name, "notes": slot.notes}, lambda: plain)


@slots_app.command("rm", short_help="Remove slots.")
def rm(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="The slots' names.")],
    force: Annotated[bool, typer.Option("--force", help="The active one, too.")] = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots rm old older

    Removes slots for good; not reference players.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        for name in names:
            trainer.delete_slot(name, force=force)
            if not session.json:
                print(name, flush=True)
    if session.json:
        session.show(lambda: {"removed": names}, str)


@slots_app.command("use", short_help="Make a slot the active one.")
def use(
    context: typer.Context,
    name: NameArgument,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots use mine
      mltetris slots use bcts

    Makes a slot the one used where none is named.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        slot = trainer.activate_slot(name)
    _tell(session, slot, f"{slot.name} is active")


@slots_app.command("export", short_help="Write a slot into a file.")
def export(
    context: typer.Context,
    name: NameArgument,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A file or a folder. Default: here.", show_default=False
        ),
    ] = None,
    format: Annotated[
        Literal["slot", "sb3"],
        typer.Option(help="slot: for `slots import`; sb3: for stable-baselines3's DQN.load."),
    ] = "slot",
    weights_only: Annotated[
        bool,
        typer.Option("--weights-only", help="Smaller, but no training goes on exactly from it."),
    ] = False,
    overwrite: OverwriteOption = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots export mine                    mine.slot.zip
      mltetris slots export mine /backup --weights-only
      mltetris slots export mine mine.zip --format sb3

    Writes a slot into a file, whole or not at all; its SHA-256 is checked.
    """
    from mltetris_client import AlreadyExists

    session = _session(context, server, output)
    with session.connect() as trainer:
        try:
            written = trainer.export_slot(
                name, path, format=format, weights_only=weights_only, overwrite=overwrite
            )
        except AlreadyExists as error:
            raise CliError(error.message, "Choose another path, or say --overwrite.") from error
    size = written.stat().st_size
    session.show(
        lambda: {"name": name, "path": str(written), "format": format, "size_bytes": size},
        lambda: str(written),
    )


@slots_app.command("import", short_help="Make a slot of a file.")
def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file of `slots export`.")],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The slot's name. Default: the file's.", show_default=False
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    server: ServerOption = None,
    output: OutputOption = None,
) -> None:
    """\b
    Examples:
      mltetris slots import mine.slot.zip
      mltetris slots import mine.slot.zip other --overwrite
      mltetris slots import mine.sb3.zip       only the weights are read

    Makes a slot of an exported file, of a .zip for stable-baselines3 too, if an
    algorithm of mlTetris saved it. Nothing in the file is run.
    """
    session = _session(context, server, output)
    with session.connect() as trainer:
        try:
            slot = trainer.import_slot(path, name, overwrite=overwrite)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CliError(f"{path} cannot be read: {reason}", "Check the path.") from error
    _tell(session, slot, f"imported {slot.name}")


def _session(context: typer.Context, server: str | None, output: object) -> Session:
    from mltetris_cli.session import Session
    from mltetris_cli.settings import Output

    assert output is None or isinstance(output, Output)
    return Session(context, server, output)


def _show(session: Session, slot: Slot) -> None:
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.slots_view import details

    session.show(lambda: to_json(slot), lambda: details(slot))


def _tell(session: Session, slot: Slot, text: str) -> None:
    """What was done with a slot: a line for people, the slot as JSON."""
    from mltetris_cli.jsonify import to_json
    from mltetris_cli.slots_view import score

    session.show(lambda: to_json(slot), lambda: f"{text}  ({score(slot)})")
