"""Bundles: the same slot gives the same bytes, and no zip from outside is believed."""

from __future__ import annotations

import io
import json
import stat
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mltetris_server import errors, zips
from mltetris_server.storage import Checkpoint, FileEntry, bundle
from support.checkpoints import MODEL, a_checkpoint, tensors

CHECKPOINT = a_checkpoint(create_time=datetime(2030, 1, 1, tzinfo=UTC))
PACKED = bundle.pack(CHECKPOINT)


def zipped(members: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def members(**changes: bytes | None) -> list[tuple[str, bytes]]:
    """The members of a whole bundle with some replaced, or left out where None."""
    parts: dict[str, bytes | None] = {"manifest.json": CHECKPOINT.manifest_bytes}
    parts |= CHECKPOINT.files
    parts |= {name.replace("__", "."): data for name, data in changes.items()}
    return [(name, data) for name, data in parts.items() if data is not None]


def manifest_with(**changes: Any) -> bytes:
    return json.dumps(json.loads(CHECKPOINT.manifest_bytes) | changes).encode()


def manifest_for(files: Mapping[str, bytes]) -> bytes:
    """A manifest whose sizes and digests are those of ``files``."""
    entries = {name: FileEntry.of(data) for name, data in files.items()}
    return manifest_with(
        files={name: {"size": e.size, "sha256": e.sha256} for name, e in entries.items()}
    )


def test_what_was_packed_is_unpacked() -> None:
    unpacked = bundle.unpack(PACKED)
    assert unpacked.manifest == CHECKPOINT.manifest
    assert unpacked.manifest_bytes == CHECKPOINT.manifest_bytes
    assert dict(unpacked.files) == dict(CHECKPOINT.files)
    assert bundle.pack(unpacked) == PACKED


def test_a_bundle_is_an_ordinary_zip_with_the_manifest_first() -> None:
    with zipfile.ZipFile(io.BytesIO(PACKED)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "manifest.json",
            "policy.safetensors",
            "training.safetensors",
        ]
        # Nothing of the moment or the machine.
        for member in archive.infolist():
            assert member.date_time == (1980, 1, 1, 0, 0, 0)
            assert (member.create_system, member.compress_type) == (3, zipfile.ZIP_STORED)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_bundles_made_by_other_programs_are_read(method: int) -> None:
    backwards = reversed(members())
    assert bundle.unpack(zipped(backwards, method)).sha256 == CHECKPOINT.sha256


@pytest.mark.parametrize(
    "name",
    [
        "../policy.safetensors",
        "/etc/passwd",
        "a/policy.safetensors",
        "a\\b.safetensors",
        "C:x.safetensors",
        "con.safetensors",
        "readme.txt",
        "policy.pkl",
        "slot.json",
    ],
)
def test_a_member_of_another_name_is_refused(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="no name for a member"):
        bundle.unpack(zipped([*members(), (name, b"")]))


def test_a_name_cut_by_nul_is_refused() -> None:
    # zipfile will not write one, so it is put in afterwards; the lengths stay the same.
    data = zipped([*members(), ("extra.safetensorsXpy", b"")])
    with pytest.raises(errors.InvalidArgument, match="no name for a member"):
        bundle.unpack(data.replace(b"extra.safetensorsXpy", b"extra.safetensors\0py"))


@pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors"])
def test_a_member_that_is_there_twice_is_refused(name: str) -> None:
    twice = dict(members())[name]
    with pytest.raises(errors.InvalidArgument, match="twice"):
        bundle.unpack(zipped([*members(), (name, twice)]))


def test_a_missing_manifest_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match=r"manifest\.json is missing"):
        bundle.unpack(zipped(members(manifest__json=None)))


def test_a_missing_file_is_data_loss() -> None:
    with pytest.raises(errors.DataLoss, match=r"training\.safetensors is missing"):
        bundle.unpack(zipped(members(training__safetensors=None)))


def test_an_unlisted_file_is_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="not in the manifest"):
        bundle.unpack(zipped([*members(), ("extra.safetensors", tensors(a=[1.0]))]))


def test_too_many_members_are_refused() -> None:
    many = [(f"f{number}.safetensors", b"") for number in range(20)]
    with pytest.raises(errors.InvalidArgument, match="more than 17"):
        bundle.unpack(zipped([*members(), *many]))


@pytest.mark.parametrize("content", [b"", b"x", CHECKPOINT.files["policy.safetensors"][:-1] + b"x"])
def test_content_that_is_not_the_manifests_is_data_loss(content: bytes) -> None:
    with pytest.raises(errors.DataLoss, match=r"policy\.safetensors"):
        bundle.unpack(zipped(members(policy__safetensors=content)))


@pytest.mark.parametrize("content", [b"\x80\x04pickle" * 9, bytes(64), tensors(a=[1.0]) + b"x"])
def test_content_that_is_no_safetensors_is_refused_however_true_the_manifest(
    content: bytes,
) -> None:
    files = {**CHECKPOINT.files, "policy.safetensors": content}
    with pytest.raises(errors.InvalidArgument, match=r"policy\.safetensors"):
        bundle.unpack(zipped([("manifest.json", manifest_for(files)), *files.items()]))


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{}", b"[]", manifest_with(version=2), manifest_with(model={}), manifest_with(extra=1)],
)
def test_a_bad_manifest_is_refused(manifest: bytes) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"manifest\.json"):
        bundle.unpack(zipped(members(manifest__json=manifest)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused(method: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="stored or deflated"):
        bundle.unpack(zipped(members(), method))


def test_an_encrypted_member_is_refused() -> None:
    data = bytearray(zipped(members()))
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    with pytest.raises(errors.InvalidArgument, match="stored or deflated"):
        bundle.unpack(bytes(data))


@pytest.mark.parametrize("name", ["manifest.json", "policy.safetensors"])
def test_a_bomb_is_refused_without_being_unpacked(name: str) -> None:
    bomb = zipped(members(**{name.replace(".", "__"): bytes(64 << 20)}), zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(errors.DomainError):
            bundle.unpack(bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_that_lies_about_its_size_is_refused_too() -> None:
    """The directory says what the manifest says, the data unpacks to far more."""
    size = len(CHECKPOINT.files["policy.safetensors"])
    bomb = bytearray(zipped(members(policy__safetensors=bytes(64 << 20)), zipfile.ZIP_DEFLATED))
    lie = size.to_bytes(4, "little")
    place = bytes(bomb).index((64 << 20).to_bytes(4, "little"))
    while place >= 0:
        bomb[place : place + 4] = lie
        place = bytes(bomb).find((64 << 20).to_bytes(4, "little"))
    tracemalloc.start()
    try:
        with pytest.raises(errors.DataLoss):
            bundle.unpack(bytes(bomb))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_is_too_large_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", len(PACKED) - 1)
    with pytest.raises(errors.InvalidArgument, match="larger than"):
        bundle.unpack(PACKED)


def member_with(name: str, attributes: int, data: bytes = b"") -> bytes:
    """A whole bundle with one member more, of these attributes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, content in members():
            archive.writestr(each, content)
        member = zipfile.ZipInfo(name)
        member.create_system = 3
        member.external_attr = attributes
        archive.writestr(member, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("extra.safetensors", (stat.S_IFLNK | 0o777) << 16),
        ("manifest.json2", (stat.S_IFLNK | 0o777) << 16),
        ("folder/", (stat.S_IFDIR | 0o755) << 16),
        ("folder/", 0x10),
        ("extra.safetensors", (stat.S_IFIFO | 0o644) << 16),
    ],
)
def test_links_and_folders_are_refused(name: str, attributes: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="no plain file"):
        bundle.unpack(member_with(name, attributes, b"/etc/passwd"))


def test_a_member_within_another_is_refused() -> None:
    """One entry of the directory points into the bytes of another: a bomb without a high ratio."""
    inner = ("training.safetensors", CHECKPOINT.files["training.safetensors"])
    data = bytearray(zipped([("policy.safetensors", zipped([inner])), inner]))
    within = bytes(data).index(b"PK\x03\x04", 4)
    last = bytes(data).rindex(b"PK\x01\x02")
    data[last + 42 : last + 46] = within.to_bytes(4, "little")
    with pytest.raises(errors.InvalidArgument, match="lies within another member"):
        bundle.unpack(bytes(data))


def test_a_directory_of_millions_is_refused_before_it_is_read() -> None:
    """zipfile makes an object of each entry at once: 40 MB of directory would take a gigabyte."""
    start = PACKED.index(b"PK\x01\x02")
    end = PACKED.rindex(b"PK\x05\x06")
    entry = PACKED[start : PACKED.index(b"PK\x01\x02", start + 4)]
    directory = entry * 300_000
    for count in (0xFFFF, 3):
        record = struct.pack(
            "<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0
        )
        data = PACKED[:start] + directory + record
        tracemalloc.start()
        try:
            with pytest.raises(errors.InvalidArgument, match="more than 17 members"):
                bundle.unpack(data)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()
    # The same by way of the 64-bit records.
    long = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 3, 3, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(directory), 1)
    data = PACKED[:start] + directory + long + locator + PACKED[end:]
    with pytest.raises(errors.InvalidArgument, match="64-bit"):
        bundle.unpack(data)


def test_what_unpacks_to_a_hundred_times_its_size_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the manifest says the same sizes, so that only the ratio tells."""
    body = bytes(20 << 20)
    header = json.dumps(
        {"a": {"dtype": "U8", "shape": [len(body)], "data_offsets": [0, len(body)]}}
    ).encode()
    zeros = struct.pack("<Q", len(header)) + header + body
    files = {"policy.safetensors": zeros}
    bomb = zipped([("manifest.json", manifest_for(files)), *files.items()], zipfile.ZIP_DEFLATED)
    with pytest.raises(errors.InvalidArgument, match="100 times its size"):
        bundle.unpack(bomb)
    monkeypatch.setattr(zips, "FREE_BYTES", len(zeros) * 2)
    assert bundle.unpack(bomb).files == files


def test_a_zip_in_a_zip_is_not_opened() -> None:
    with pytest.raises(errors.DomainError, match=r"policy\.safetensors"):
        files = {"policy.safetensors": PACKED}
        bundle.unpack(zipped([("manifest.json", manifest_for(files)), *files.items()]))


@pytest.mark.parametrize("length", [0, 1, 30, 100, len(PACKED) // 2, len(PACKED) - 1])
def test_a_truncated_bundle_is_data_loss(length: int) -> None:
    with pytest.raises(errors.DataLoss):
        bundle.unpack(PACKED[:length])


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(errors.DomainError):
        bundle.unpack(data)


@settings(max_examples=400)
@given(
    changes=st.lists(
        st.tuples(st.integers(-600, 600), st.integers(0, 255)), min_size=1, max_size=4
    ),
    packed=st.sampled_from([PACKED, zipped(members(), zipfile.ZIP_DEFLATED)]),
)
def test_changed_bytes_are_refused_or_change_nothing(
    changes: list[tuple[int, int]], packed: bytes
) -> None:
    """Headers at the beginning and the directory at the end are what a reader stumbles over."""
    data = bytearray(packed)
    for position, byte in changes:
        data[position] = byte
    try:
        unpacked = bundle.unpack(bytes(data))
    except errors.DomainError:
        return
    assert unpacked == CHECKPOINT


@given(
    names=st.lists(st.text(min_size=1, max_size=30).filter(lambda n: "\0" not in n), max_size=4),
    data=st.binary(max_size=40),
)
def test_no_names_break_the_reader(names: list[str], data: bytes) -> None:
    try:
        packed = zipped([*members(), *((name, data) for name in names)])
    except UnicodeEncodeError:
        return  # no zip has such a name
    try:
        assert isinstance(bundle.unpack(packed), Checkpoint)
        assert not names
    except errors.DomainError:
        assert names


def test_the_models_numbers_survive_the_way() -> None:
    checkpoint = a_checkpoint(
        model={**MODEL, "hyperparameters": {"a": 0.1, "b": 3e-3, "c": 10**15}}
    )
    assert bundle.unpack(bundle.pack(checkpoint)).manifest.model == checkpoint.manifest.model
