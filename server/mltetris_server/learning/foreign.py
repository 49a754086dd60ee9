"""A Stable-Baselines3 .zip from whoever as a SLOT bundle, and nothing of it is ever unpickled.

`load` of SB3 runs whatever code the .zip brings along. Here only two things of it are read: the
JSON file `data`, of which everything serialized stays a text that nobody decodes, and the tensors
of `policy.pth`, by torch's reader of weights only. So much is enough for the .zip of one of our
own algorithms, which says in plain JSON what it is; it plays as it did. What only its training
needs is not taken along.

Runs in a process of its own, with bounds on time and memory (`worker/foreign.py`).
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import re
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import torch as th
from numpy.typing import NDArray

from mltetris_server import zips
from mltetris_server.learning.model import (
    POLICY_FILE,
    CheckpointError,
    ModelDescription,
    dump_network,
    take_network,
)
from mltetris_server.learning.state import MAX_COUNT

DATA: Final = "data"
POLICY: Final = "policy.pth"
MODEL: Final = "mltetris_model"
"""The part of `data` in which our algorithms say what they are: the `model` of a manifest."""

MAX_MEMBERS: Final = 32
MAX_BYTES: Final = 256 << 20
MAX_DATA_BYTES: Final = 16 << 20
MAX_POLICY_BYTES: Final = 64 << 20

_ACTING: Final = {"ppo": "actor."}
"""Where in the policy the network that plays is, by algorithm; else as below."""
_ACTING_ELSE: Final = "q_net_target.q_net."
_PARAMETER: Final = re.compile(r"([0-9]{1,3})\.(weight|bias)")
_NOT_OURS: Final = (
    f"has no {MODEL}: it was not saved by an algorithm of mlTetris, or by one of an older version. "
    "Only those can be imported: others do not play on the same observations"
)


def import_sb3(content: bytes) -> bytes:
    """The SLOT bundle of what plays in a .zip.

    Raises:
        CheckpointError: it is no such .zip, or none of ours; the message names the part.
    """
    data, policy = _unpack(content)
    description, placements = read_data(data)
    network = take_network(_acting(policy, description), POLICY, "", description)
    return _pack(description, placements, dump_network(network))


def read_data(data: bytes) -> tuple[ModelDescription, int]:
    """What the JSON file `data` says a model is, and the placements it has learnt from.

    Raises:
        CheckpointError: it is not JSON, none of ours, or says what cannot be.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(DATA, "is not JSON") from error
    if not isinstance(document, dict):
        raise CheckpointError(DATA, "is not a JSON object")
    model = document.get(MODEL)
    if not isinstance(model, dict):
        raise CheckpointError(DATA, _NOT_OURS)
    description = ModelDescription.from_dict(model)
    placements = document.get("num_timesteps")
    if (
        isinstance(placements, bool)
        or not isinstance(placements, int)
        or not 0 <= placements <= MAX_COUNT
    ):
        raise CheckpointError(f"{DATA}: num_timesteps", f"must be a whole number to {MAX_COUNT}")
    return description, placements


def _unpack(content: bytes) -> tuple[bytes, bytes]:
    """The members `data` and `policy.pth`."""
    try:
        with zips.looked_over(content, most_members=MAX_MEMBERS, most_bytes=MAX_BYTES) as (
            archive,
            members,
        ):
            for name in (DATA, POLICY):
                if name not in members:
                    raise CheckpointError(name, "is missing: this is no stable-baselines3 .zip")
            return (
                zips.content(archive, members[DATA], MAX_DATA_BYTES),
                zips.content(archive, members[POLICY], MAX_POLICY_BYTES),
            )
    except (zips.ZipRefused, zips.ZipBroken) as error:
        raise CheckpointError("bundle", f"is no .zip to be read ({error})") from error


def _acting(policy: bytes, description: ModelDescription) -> dict[str, NDArray[Any]]:
    """The tensors of the network that plays, by their names in `policy.safetensors`."""
    state = _tensors(policy)
    prefix = _ACTING.get(description.algorithm, _ACTING_ELSE)
    layers: dict[int, dict[str, th.Tensor]] = {}
    for name, tensor in state.items():
        if not name.startswith(prefix):
            continue
        found = _PARAMETER.fullmatch(name.removeprefix(prefix))
        if found is None:
            raise CheckpointError(f"{POLICY}: {name[:80]}", "is not part of such a network")
        layers.setdefault(int(found[1]), {})[found[2]] = tensor
    names = ["hidden", "output"] if description.hidden else ["output"]
    if len(layers) != len(names):
        raise CheckpointError(
            POLICY, f"must have {len(names)} layers {prefix}*, and has {len(layers)}"
        )
    inputs, units = description.inputs, description.hidden[-1] if description.hidden else 0
    shapes = {"hidden": (units, inputs), "output": (1, description.outputs)}
    arrays = {}
    for name, (_, parts) in zip(names, sorted(layers.items()), strict=True):
        for part, tensor in sorted(parts.items()):
            shape = shapes[name] if part == "weight" else shapes[name][:1]
            arrays[f"{name}.{part}"] = _array(f"{prefix}{name}.{part}", tensor, shape)
    return arrays


def _tensors(policy: bytes) -> Mapping[str, th.Tensor]:
    """The tensors of a .pth file by name, read as weights only."""
    if not policy.startswith(b"PK"):
        # Before torch 1.6 it was a bare pickle.
        raise CheckpointError(POLICY, "is not a file of tensors as torch writes them")
    try:
        state = th.load(io.BytesIO(policy), map_location="cpu", weights_only=True, mmap=False)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        AssertionError,
        EOFError,
        OverflowError,
        NotImplementedError,
        zipfile.BadZipFile,
    ) as error:
        # Its own words tell how to load it all the same.
        raise CheckpointError(POLICY, "is damaged, or holds something besides tensors") from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, th.Tensor) for name, tensor in state.items()
    ):
        raise CheckpointError(POLICY, "holds something besides named tensors")
    return state


def _array(name: str, tensor: th.Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A tensor's numbers; its shape first, for a tensor may claim more than there is memory."""
    if (
        tensor.layout != th.strided
        or tensor.device.type != "cpu"
        or tensor.dtype != th.float32
        or tuple(tensor.shape) != shape
    ):
        raise CheckpointError(
            f"{POLICY}: {name}",
            f"must be float32{list(shape)}, not {str(tensor.dtype)[6:]}{list(tensor.shape)[:8]}",
        )
    array: NDArray[np.float32] = tensor.detach().numpy().copy()
    assert array.size == math.prod(shape)
    return array


def _pack(description: ModelDescription, placements: int, policy: bytes) -> bytes:
    entry = {"size": len(policy), "sha256": hashlib.sha256(policy).hexdigest()}
    manifest = {
        "format": "mltetris-checkpoint",
        "version": 1,
        "model": description.to_dict(),
        "placements": placements,
        "evaluation": None,
        "source": None,
        "create_time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "command": None,
        "files": {POLICY_FILE: entry},
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest, indent=2, sort_keys=True))
        archive.writestr(POLICY_FILE, policy)
    return target.getvalue()
