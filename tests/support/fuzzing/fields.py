"""Whether a field that an error names is one that the request can have."""

from __future__ import annotations

import re
from typing import Final

from google.protobuf.descriptor import Descriptor

_PART: Final = re.compile(r"(?P<name>[a-z][a-z0-9_]*)(?P<index>\[[^\]]+\])?")


def has_field(kind: Descriptor, path: str) -> bool:
    """Whether messages of the type `kind` have a field, or a oneof, at `path`."""
    name, dot, rest = path.partition(".")
    match = _PART.fullmatch(name)
    if match is None:
        return False
    if match["name"] in kind.oneofs_by_name and not dot:
        return True
    field = kind.fields_by_name.get(match["name"])
    if field is None or (match["index"] is not None and not field.is_repeated):
        return False
    if not dot:
        return True
    return field.message_type is not None and has_field(field.message_type, rest)
