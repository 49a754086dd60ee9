"""Which names may reach the file system: slots, datasets, runs and the files of a checkpoint.

Every name that comes from outside passes through here before it becomes part of a path, so that no
name can leave its folder, and so that a data directory written on one system opens on every other
(Windows reserves some names, and like macOS it does not tell upper from lower case).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mltetris_server import errors

_SLOT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RUN = re.compile(r"[a-z0-9-]{1,64}")
_FILE = re.compile(r"[a-z0-9_-]{1,64}\.safetensors")

# Names that Windows takes for devices, alone and before any extension:
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_RESERVED = frozenset(
    ["con", "prn", "aux", "nul"]
    + [f"{device}{digit}" for device in ("com", "lpt") for digit in range(10)]
)


def check_slot_name(name: str, *, field: str = "name") -> str:
    """The name, if a slot may have it.

    Raises InvalidArgument naming ``field`` unless it is 1 to 64 of ``A-Z a-z 0-9 _ -`` and no
    device name of Windows.
    """
    if not _SLOT.fullmatch(name):
        raise errors.InvalidArgument.field(
            field, "a slot's name is 1 to 64 characters of A-Z a-z 0-9 _ -"
        )
    if not is_slot_name(name):
        raise errors.InvalidArgument.field(
            field, f"{name!r} is reserved by Windows; choose another name"
        )
    return name


def check_dataset_name(name: str, *, field: str = "name") -> str:
    """The name, if a dataset may have it; the rule is that of slots' names.

    Raises InvalidArgument naming ``field``.
    """
    if not _SLOT.fullmatch(name):
        raise errors.InvalidArgument.field(
            field, "a dataset's name is 1 to 64 characters of A-Z a-z 0-9 _ -"
        )
    if not is_slot_name(name):
        raise errors.InvalidArgument.field(
            field, f"{name!r} is reserved by Windows; choose another name"
        )
    return name


def check_run_id(run_id: str, *, field: str = "run") -> str:
    """The id, if a run may have it: 1 to 64 of ``a-z 0-9 -``; else InvalidArgument."""
    if not is_run_id(run_id):
        raise errors.InvalidArgument.field(field, "a run's id is 1 to 64 characters of a-z 0-9 -")
    return run_id


def is_run_id(run_id: str) -> bool:
    """Whether a run may have this id."""
    return bool(_RUN.fullmatch(run_id)) and run_id not in _RESERVED


def is_file_name(name: str) -> bool:
    """Whether a checkpoint may hold a file of this name, for example ``policy.safetensors``."""
    return bool(_FILE.fullmatch(name)) and name.split(".")[0] not in _RESERVED


def is_slot_name(name: str) -> bool:
    """Whether a slot may have this name."""
    return bool(_SLOT.fullmatch(name)) and name.lower() not in _RESERVED


def same_but_for_case(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that differs from ``name`` in upper and lower case only, if any."""
    folded = name.lower()
    return next((other for other in names if other != name and other.lower() == folded), None)
