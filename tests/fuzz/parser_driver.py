"""Run by ``test_parsers``: throws bytes at one parser of imported files, guided by its coverage.

``python parser_driver.py PARSER SECONDS FOLDER``. libFuzzer ends the process with another exit code
than 0 where the parser raises what it does not document, takes longer than a call may take, or
takes more memory than there is reason for. The bytes that did it lie in FOLDER then.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

INSTRUMENTED = [
    "mltetris_server.zips",
    "mltetris_server.storage",
    "mltetris_server.hyperparameters",
    "mltetris_server.learning.bundle",
    "mltetris_server.learning.foreign",
    "mltetris_server.learning.model",
]
"""Never what is compiled: instrumented, it could not be."""
WITH_TORCH = {"sb3 data", "sb3 zip"}

CALL_S = 30
"""Seconds that one call may take; on a machine that does much else, too."""

if sys.argv[1] in WITH_TORCH:
    import torch

with atheris.instrument_imports(include=INSTRUMENTED):
    from mltetris_server import errors
    from mltetris_server.storage import bundle, manifest, slot_record, tensors

    if sys.argv[1] in WITH_TORCH:
        from mltetris_server.learning import foreign
    if sys.argv[1] == "learning bundle":
        from mltetris_server.learning import bundle as learning_bundle

from support.checkpoints import a_checkpoint  # noqa: E402
from support.checkpoints import tensors as vector_file  # noqa: E402

CHECKPOINT = a_checkpoint()
PACKED = bundle.pack(CHECKPOINT)
RECORD = slot_record.SlotRecord.new(notes="n", tags=["a"], source_slot="one").to_bytes()


def deflated() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", CHECKPOINT.manifest_bytes)
        for name, data in CHECKPOINT.files.items():
            archive.writestr(name, data)
    return target.getvalue()


def sb3_data() -> bytes:
    from mltetris_server.game.config import FeatureSet, GameConfig
    from mltetris_server.hyperparameters import TdConfig
    from mltetris_server.learning.model import ModelDescription

    description = ModelDescription(FeatureSet.BCTS, GameConfig(), TdConfig())
    return json.dumps(
        {
            foreign.MODEL: description.to_dict(),
            "num_timesteps": 7,
            "policy_class": {":type:": "x", ":serialized:": "gASVCAAAAAAAAACMBHRlc3SULg=="},
        }
    ).encode()


def sb3_zip() -> bytes:
    target, weights = io.BytesIO(), io.BytesIO()
    torch.save({"q_net_target.q_net.0.weight": torch.zeros(3)}, weights)
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data", sb3_data())
        archive.writestr("policy.pth", weights.getvalue())
    return target.getvalue()


def unpack_true(data: bytes) -> None:
    """A zip whose manifest is true of whatever it holds: so what follows the digests is reached."""
    given = atheris.FuzzedDataProvider(data)
    names = ["policy.safetensors", "training.safetensors", "a.safetensors", "../x.safetensors"]
    files = {}
    for name in names[: given.ConsumeIntInRange(1, 4)]:
        header = given.ConsumeBytes(given.ConsumeIntInRange(0, 300))
        length = given.ConsumeIntInRange(0, 400) if given.ConsumeBool() else len(header)
        files[name] = length.to_bytes(8, "little") + header + bytes(given.ConsumeIntInRange(0, 64))
    document = json.loads(CHECKPOINT.manifest_bytes) | {
        "files": {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
    }
    target = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if given.ConsumeBool() else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.writestr("manifest.json", json.dumps(document))
        for name, content in files.items():
            archive.writestr(name, content)
    bundle.unpack(target.getvalue())


def broken(data: bytes) -> None:
    """What a test of the test has: a parser that does not document what it raises."""
    if data[:1] == b"!":
        raise KeyError("undocumented")


def record(data: bytes) -> None:
    slot_record._parse(data)


def parsers() -> dict[str, tuple[Callable[[bytes], Any], tuple[type[Exception], ...], list[bytes]]]:
    """What is called, what it may raise, and bytes to begin with."""
    refusals = (errors.InvalidArgument, errors.DataLoss)
    bundles = [PACKED, deflated()]
    found: dict[str, Any] = {
        "bundle": (bundle.unpack, refusals, bundles),
        "true bundle": (unpack_true, refusals, [vector_file(a=[1.0]) * 2]),
        "manifest": (manifest.parse, (manifest.ManifestError,), [CHECKPOINT.manifest_bytes]),
        "tensors": (
            tensors.check,
            (manifest.ManifestError,),
            [vector_file(a=[1.0], b=[2.0, 3.0]), *CHECKPOINT.files.values()],
        ),
        "record": (record, (manifest.ManifestError, errors.InvalidArgument), [RECORD]),
        "broken": (broken, (), [b"?"]),
    }
    if sys.argv[1] == "learning bundle":
        error = learning_bundle.CheckpointError
        found["learning bundle"] = (learning_bundle.read_bundle, (error,), bundles)
    if sys.argv[1] in WITH_TORCH:
        error = foreign.CheckpointError
        found["sb3 data"] = (foreign.read_data, (error,), [sb3_data()])
        found["sb3 zip"] = (foreign.import_sb3, (error,), [sb3_zip(), PACKED])
    return found


def main() -> None:
    name, seconds, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    parse, documented, seeds = parsers()[name]
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)

    def once(data: bytes) -> None:
        try:
            parse(data)
        except documented:
            return

    limits = [
        f"-max_total_time={seconds}",
        f"-timeout={CALL_S}",
        f"-rss_limit_mb={4000 if name in WITH_TORCH else 1000}",
        f"-max_len={max(4096, 2 * max(map(len, seeds)))}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
