"""The audit trail for people."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from mltetris_api.v1 import system_pb2
from mltetris_client import Activity, name_of
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mltetris_cli.runs_view import printable

_CODES = {code.value[0]: code.name.lower().replace("_", " ") for code in grpc.StatusCode}


def table(entries: Sequence[Activity]) -> RenderableType:
    """Entries as a table."""
    if not entries:
        return "nothing was done yet"
    result = Table(box=None, pad_edge=False, header_style="bright_black", show_edge=False)
    result.add_column("WHEN", no_wrap=True)
    result.add_column("ROLE", no_wrap=True)
    result.add_column("FROM", no_wrap=True)
    result.add_column("RESULT", no_wrap=True)
    result.add_column("WHAT", overflow="fold")
    for entry in entries:
        when = entry.time.ToDatetime().astimezone()
        failed = entry.code != 0
        result.add_row(
            f"{when:%Y-%m-%d %H:%M:%S}",
            name_of(system_pb2.Role, entry.role),
            Text(printable(entry.peer)),
            Text(_CODES.get(entry.code, str(entry.code)), style="red" if failed else "green"),
            Text(printable(f"{entry.method}: {entry.summary}" if failed else entry.summary)),
        )
    return result
