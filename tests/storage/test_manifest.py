"""The manifest: written the same for the same model, read with distrust."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mltetris_api.v1 import run_pb2
from mltetris_server import errors
from mltetris_server.storage import Checkpoint, manifest
from support.checkpoints import MODEL, a_checkpoint, model_files

DOCUMENT: dict[str, Any] = json.loads(a_checkpoint().manifest_bytes)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def changed(path: str, value: Any) -> bytes:
    """The document with one value replaced, or removed where the value is ``...``."""
    document = copy.deepcopy(DOCUMENT)
    *parents, last = path.split("/")
    inner = document
    for key in parents:
        inner = inner[key]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(document).encode()


@given(
    placements=st.integers(0, manifest.MAX_PLACEMENTS),
    evaluation=st.none()
    | st.builds(
        run_pb2.Evaluation,
        games=st.integers(1, 1000),
        mean_lines=st.floats(0, 1e9),
        standard_error=st.floats(0, 1e9),
        best_lines=st.integers(0, 10**9),
    ),
    kind=st.sampled_from([1, 2, 3]),
    command=st.none() | st.text(st.characters(categories=["L", "N", "P"]), max_size=50),
    time=st.datetimes(timezones=st.just(UTC)),
)
def test_what_is_written_is_what_is_read(
    placements: int,
    evaluation: run_pb2.Evaluation | None,
    kind: run_pb2.CheckpointKind.ValueType,
    command: str | None,
    time: datetime,
) -> None:
    source = run_pb2.RunCheckpoint(run="train-1", kind=kind)
    checkpoint = a_checkpoint(
        placements, evaluation=evaluation, source=source, command=command, create_time=time
    )
    read = manifest.parse(checkpoint.manifest_bytes)
    assert read == checkpoint.manifest
    assert (read.placements, read.evaluation, read.source) == (placements, evaluation, source)
    assert (read.command, read.create_time) == (command, time)
    assert read.to_bytes() == checkpoint.manifest_bytes


def test_the_model_is_understood_as_far_as_the_contract_needs() -> None:
    read = a_checkpoint().manifest
    assert read.algorithm == run_pb2.ALGORITHM_TD
    assert read.features == run_pb2.FEATURE_SET_BCTS
    assert read.game == run_pb2.GameSpec(
        width=10, height=20, rule=run_pb2.RULE_GYMNASIUM, randomizer=run_pb2.RANDOMIZER_BAG7
    )
    assert json.loads(read.model_json) == MODEL
    assert read.resumable
    assert not a_checkpoint(resumable=False).manifest.resumable


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("format", "other", "format"),
        ("version", 2, "version"),
        ("version", True, "version"),
        ("version", 1.5, "version"),
        ("surprise", 1, "surprise"),
        ("model", ..., "model: missing"),
        ("model", [], "model"),
        ("model/algorithm", "ppo2", "model.algorithm"),
        ("model/algorithm", "unspecified", "model.algorithm"),
        ("model/algorithm", 1, "model.algorithm"),
        ("model/features", ..., "model.features"),
        ("model/game", None, "model.game"),
        ("model/game/width", 3, "model.game.width"),
        ("model/game/width", 33, "model.game.width"),
        ("model/game/height", 20.0, "model.game.height"),
        ("model/game/rule", "house", "model.game.rule"),
        ("model/game/randomizer", ..., "model.game.randomizer"),
        ("model/hyperparameters", {"x": "\ud800"}, "model"),
        ("placements", -1, "placements"),
        ("placements", 1e3, "placements"),
        ("placements", True, "placements"),
        ("placements", 10**30, "placements"),
        ("evaluation", {}, "evaluation"),
        ("evaluation/games", -1, "evaluation.games"),
        ("evaluation/games", 2**32, "evaluation.games"),
        ("evaluation/mean_lines", "12", "evaluation.mean_lines"),
        ("evaluation/mean_lines", -0.5, "evaluation.mean_lines"),
        ("evaluation/surprise", 1, "evaluation"),
        ("source", {"run": "../x", "checkpoint": "best"}, "source"),
        ("source", {"run": "train-1"}, "source"),
        ("source", {"run": "train-1", "checkpoint": "worst"}, "source.checkpoint"),
        ("create_time", "yesterday", "create_time"),
        ("create_time", "2030-01-01T00:00:00", "create_time"),
        ("create_time", 0, "create_time"),
        ("create_time", "0001-01-01T00:00:00+14:00", "create_time"),
        ("command", "a\x1b[2J", "command"),
        ("command", "x" * 5000, "command"),
        ("command", 7, "command"),
        ("files", {}, "policy.safetensors"),
        ("files/policy.safetensors", {"size": 1}, "files.policy.safetensors"),
        ("files/policy.safetensors/size", -1, "files.policy.safetensors.size"),
        ("files/policy.safetensors/size", manifest.MAX_CHECKPOINT_BYTES + 1, "size"),
        ("files/policy.safetensors/sha256", "0" * 63, "files.policy.safetensors.sha256"),
        ("files/policy.safetensors/sha256", "G" * 64, "files.policy.safetensors.sha256"),
        ("files/..", {"size": 1, "sha256": "0" * 64}, "no name for a file"),
        ("files/con.safetensors", {"size": 1, "sha256": "0" * 64}, "no name for a file"),
    ],
)
def test_what_is_not_acceptable_is_named(path: str, value: Any, complaint: str) -> None:
    with pytest.raises(manifest.ManifestError) as caught:
        manifest.parse(changed(path, value))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "object"),
        (b'{"format": NaN}', "NaN"),
        (b'{"format": 1e999}', "out of range"),
        (b'{"format": 1, "format": 2}', "twice"),
        (b"[" * 100_000, "nested"),
        (b'{"placements": ' + b"9" * 5000 + b"}", "not JSON"),
        (b" " * (manifest.MAX_MANIFEST_BYTES + 1), "larger"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(manifest.ManifestError) as caught:
        manifest.parse(data)
    assert complaint in str(caught.value)


def test_too_many_files_are_refused() -> None:
    entry = DOCUMENT["files"]["policy.safetensors"]
    many = {f"f{number}.safetensors": entry for number in range(manifest.MAX_FILES)}
    with pytest.raises(manifest.ManifestError, match="at most 16"):
        manifest.parse(changed("files", many | {"policy.safetensors": entry}))


@given(
    path=st.sampled_from(
        [
            *("format", "version", "model", "model/game", "model/game/width", "model/algorithm"),
            *("placements", "evaluation", "evaluation/games", "source", "source/run", "command"),
            *("create_time", "files", "files/policy.safetensors"),
            "files/policy.safetensors/sha256",
        ]
    ),
    value=JSON,
)
def test_no_value_anywhere_breaks_the_reader(path: str, value: Any) -> None:
    with suppress(manifest.ManifestError):
        manifest.parse(changed(path, value))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(manifest.ManifestError):
        manifest.parse(data)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"placements": 10**19}, "placements"),
        ({"model": "not json"}, "not JSON"),
        ({"model": "[]"}, "object"),
        ({"model": {**MODEL, "algorithm": "other"}}, "model.algorithm"),
        ({"model": {**MODEL, "hyperparameters": {"gamma": float("nan")}}}, "JSON"),
        ({"model": {**MODEL, "network": {1, 2}}}, "JSON"),
        ({"evaluation": run_pb2.Evaluation(games=1, mean_lines=float("nan"))}, "JSON"),
        ({"evaluation": run_pb2.Evaluation(games=1, mean_lines=-1)}, "evaluation.mean_lines"),
        ({"source": run_pb2.RunCheckpoint(run="train-1")}, "source.checkpoint"),
        ({"files": {}}, "policy.safetensors"),
        ({"files": {**model_files(), "../x": b""}}, "no name for a file"),
        ({"files": {"policy.safetensors": b"pickled"}}, "policy.safetensors: it is shorter"),
    ],
)
def test_a_checkpoint_is_not_made_of_what_could_not_be_read(
    changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        a_checkpoint(**changes)
    assert complaint in caught.value.message
    assert caught.value.fields[0].field == "checkpoint"


def test_the_fingerprint_changes_with_every_byte_of_the_model() -> None:
    time = datetime(2030, 1, 1, tzinfo=UTC)
    one = a_checkpoint(create_time=time)
    assert one.sha256 == a_checkpoint(create_time=time).sha256
    files = dict(one.files)
    files["policy.safetensors"] = files["policy.safetensors"][:-1] + b"\x01"
    other = Checkpoint.create(model=MODEL, files=files, placements=1000, create_time=time)
    assert other.sha256 != one.sha256
