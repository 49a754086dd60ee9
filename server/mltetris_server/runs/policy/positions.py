"""Boards that can be."""

from __future__ import annotations

from typing import Final

from mltetris_api.v1 import policy_pb2

from mltetris_server.errors import InvalidArgument
from mltetris_server.runs.policy.catalogue import Model
from mltetris_server.runs.specs import check_player

_VALUES: Final = bytes(range(8))


def check(path: str, position: policy_pb2.Position, model: Model) -> None:
    """Raises InvalidArgument, naming the field, where no game has `position`, which stands at
    `path` in the request, or `model` cannot play there."""
    width = position.width if position.HasField("width") else 10
    height = position.height if position.HasField("height") else 20
    cells = position.cells
    check_player(f"{path}.width", model.facts, width)
    if not cells:
        return
    if len(cells) != width * height:
        raise InvalidArgument.field(
            f"{path}.cells",
            f"must be {width} x {height} = {width * height} bytes, row by row from the top, or "
            f"none; these are {len(cells)}",
        )
    if strange := cells.translate(None, _VALUES):
        at = cells.index(strange[0])
        raise InvalidArgument.field(
            f"{path}.cells",
            f"each must be 0 (empty) or 1..7, not {strange[0]}: row {at // width}, column "
            f"{at % width}, counted from 0 at the top left",
        )
    for row in range(height):
        if 0 not in cells[row * width : (row + 1) * width]:
            raise InvalidArgument.field(
                f"{path}.cells", f"row {row} from the top (0) is full: clear full rows first"
            )
