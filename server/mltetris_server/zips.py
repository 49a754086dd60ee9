"""Zip files from whoever: looked over before anything of them is unpacked.

A zip may claim anything: more members than there is memory for, sizes that are not true, members
that lie in each other, links, names that lead elsewhere. What is let through here has few members,
each a plain file of its own bytes, and unpacks to no more than was allowed. Nothing is ever
unpacked to a disk.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_RATIO: Final = 100
"""Bytes unpacked for each that was packed, of a zip that unpacks to more than `FREE_BYTES`."""
FREE_BYTES: Final = 16 << 20
"""So much may come out of however few bytes: a table that is mostly zeros is no bomb."""

_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
_LONGEST_COMMENT: Final = (1 << 16) - 1
_LOCATOR_64: Final = b"PK\6\7"
_LOCATOR_BYTES: Final = 20
_ENTRY_BYTES: Final = 2048
"""Of the directory for each member: its name and what some programs note beside it."""
_LOCAL_BYTES: Final = 30
_ENCRYPTED: Final = 0x1
_DOS_FOLDER: Final = 0x10
# What zipfile raises for bytes that are no zip, or not any more: BadZipFile is only one of them.
_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class ZipRefused(ValueError):
    """The zip has something that is not taken; the message says what."""


class ZipBroken(ValueError):
    """It is no zip, or not any more."""


@contextmanager
def looked_over(
    data: bytes, *, most_members: int, most_bytes: int
) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """The zip and its members by their whole names, if they may be unpacked.

    Whoever uses it must check the names, and unpack with ``content``.

    Raises ZipRefused and ZipBroken.
    """
    _check_directory(data, most_members)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise ZipBroken(f"damaged or no zip: {error}") from None
    with archive:
        yield archive, _members(archive, len(data), most_members, most_bytes)


def content(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    """The member's bytes; never more than ``limit`` are unpacked, whatever the zip promises.

    Raises ZipRefused and ZipBroken.
    """
    try:
        with archive.open(member) as stream:
            data = stream.read(limit + 1)
    except _BROKEN as error:
        raise ZipBroken(f"damaged or no zip: {error}") from None
    if len(data) > limit:
        raise ZipRefused(f"{member.filename[:80]!r} is larger than {limit} bytes")
    return data


def _check_directory(data: bytes, most_members: int) -> None:
    """Raise unless the directory is small: `zipfile` makes an object of each entry at once."""
    # The end's record is looked for as `zipfile` does it.
    place = len(data) - _END_BYTES
    if place < 0 or data[place : place + 4] != _END or data[-2:] != b"\0\0":
        place = data.rfind(_END, max(0, len(data) - _END_BYTES - _LONGEST_COMMENT))
    if place < 0 or place + _END_BYTES > len(data):
        raise ZipBroken("damaged or no zip: it has no end")
    if data[max(0, place - _LOCATOR_BYTES) :].startswith(_LOCATOR_64):
        raise ZipRefused("a zip of the 64-bit kind, which nothing so small needs")
    _, disk, first, here, members, size, _, _ = struct.unpack("<4s4H2LH", data[place:][:22])
    if disk or first or here != members:
        raise ZipRefused("a zip in several parts")
    if members > most_members or size > most_members * _ENTRY_BYTES:
        raise ZipRefused(f"more than {most_members} members")


def _members(
    archive: zipfile.ZipFile, packed: int, most_members: int, most_bytes: int
) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > most_members:
        raise ZipRefused(f"more than {most_members} members")
    members: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        # orig_filename: zipfile cuts `filename` at a NUL.
        name = member.orig_filename
        shown = repr(name[:80])
        if name in members:
            raise ZipRefused(f"{shown} is there twice")
        if member.flag_bits & _ENCRYPTED or member.compress_type not in METHODS:
            raise ZipRefused(f"{shown} must be stored or deflated")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.external_attr & _DOS_FOLDER or kind not in (0, stat.S_IFREG):
            raise ZipRefused(f"{shown} is a link or a folder, no plain file")
        members[name] = member
    end = 0
    for member in sorted(listed, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ZipRefused(f"{member.orig_filename[:80]!r} lies within another member")
        end = member.header_offset + _LOCAL_BYTES + member.compress_size
    unpacked = sum(member.file_size for member in listed)
    if unpacked > most_bytes:
        raise ZipRefused(f"larger than {most_bytes} bytes, unpacked")
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        raise ZipRefused(f"it unpacks to more than {MAX_RATIO} times its size")
    return members
