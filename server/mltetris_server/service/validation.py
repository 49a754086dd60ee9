"""Checks requests against the rules written in the contract (protovalidate annotations)."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message
from protovalidate import FieldPathPb, Validator

from mltetris_server.errors import FieldViolation, InvalidArgument

_validator = Validator()


def validate(request: Message) -> None:
    """Raises InvalidArgument naming every field of `request` that breaks a rule of the contract."""
    violations = _validator.collect_violations(request)
    if not violations:
        return
    fields = [
        FieldViolation(_path(violation.proto.field), violation.proto.message or "is not valid")
        for violation in violations
    ]
    raise InvalidArgument(_sentence(fields), fields=fields)


def _sentence(fields: Iterable[FieldViolation]) -> str:
    """All violations in one line, the same field's rules once."""
    return "; ".join(dict.fromkeys(f"{field.field}: {field.description}" for field in fields))


def _path(path: FieldPathPb | None) -> str:
    """`path` as people write it: `training.budget.target_mean_lines`, `slots[2]`."""
    if path is None:
        return ""
    parts: list[str] = []
    for element in path.elements:
        name = element.field_name or ""
        if element.subscript is not None:
            name += f"[{element.subscript.value}]"
        parts.append(name)
    return ".".join(parts)
