import hashlib
import io
import json
import zipfile

import gymnasium
import pytest
from learning.helpers import small_td
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.learning.bundle import read_bundle
from mltetris_server.learning.checkpoint import dump
from mltetris_server.learning.export import export_sb3
from mltetris_server.learning.model import POLICY_FILE, CheckpointError
from mltetris_server.learning.td import TD
from stable_baselines3 import DQN


def manifest_of(td, files):
    return {
        "format": "mltetris-checkpoint",
        "version": 1,
        "model": dump(td)[0],
        "placements": td.num_timesteps,
        "evaluation": None,
        "source": None,
        "create_time": "2030-01-31T12:00:00Z",
        "command": None,
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        },
    }


def packed(members, compression=zipfile.ZIP_STORED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    return target.getvalue()


@pytest.fixture(scope="module")
def learner():
    td = small_td()
    td.learn(640)
    return td


def bundle_of(td, *, weights_only=False, **changes):
    _, files = dump(td, weights_only=weights_only)
    return packed([("manifest.json", manifest_of(td, files) | changes), *files.items()])


@pytest.mark.parametrize("weights_only", [False, True])
def test_a_bundle_becomes_an_sb3_zip(learner, weights_only):
    data = export_sb3(bundle_of(learner, weights_only=weights_only))
    td, dqn = TD.load(io.BytesIO(data)), DQN.load(io.BytesIO(data))
    assert td.num_timesteps == dqn.num_timesteps == learner.num_timesteps
    assert td.description == learner.description
    env = gymnasium.make(PLACEMENT_ENV)
    observation, _ = env.reset(seed=1)
    for _ in range(10):
        action, _ = learner.predict(observation, deterministic=True)
        for model in (td, dqn):
            assert model.predict(observation, deterministic=True)[0] == action
        observation, *_ = env.step(int(action))
    steps = td.policy.optimizer.state_dict()["state"]
    assert bool(steps) is not weights_only


def test_a_bundle_is_read_as_it_was_packed(learner):
    manifest, files = read_bundle(bundle_of(learner))
    assert manifest["model"] == dump(learner)[0]
    assert files == dump(learner)[1]


def bad_bundles():
    td = small_td()
    _, files = dump(td, weights_only=True)
    manifest = manifest_of(td, files)
    policy = files[POLICY_FILE]
    other = {"../policy.safetensors": {"size": 1, "sha256": "0"}}
    return {
        "nothing": b"",
        "no zip": b"PK but no zip",
        "empty": packed([]),
        "no manifest": packed([(POLICY_FILE, policy)]),
        "no policy": packed([("manifest.json", manifest)]),
        "another policy": packed([("manifest.json", manifest), (POLICY_FILE, policy + b" ")]),
        "no JSON": packed([("manifest.json", b"{"), (POLICY_FILE, policy)]),
        "deep JSON": packed([("manifest.json", b"[" * 100_000), (POLICY_FILE, policy)]),
        "a list": packed([("manifest.json", b"[]"), (POLICY_FILE, policy)]),
        "another format": packed([("manifest.json", manifest | {"format": "x"})]),
        "another version": packed([("manifest.json", manifest | {"version": 2})]),
        "no model": packed([("manifest.json", manifest | {"model": None}), (POLICY_FILE, policy)]),
        "a path": packed([("manifest.json", manifest | {"files": other})]),
        "too many files": packed([(f"{k}", b"") for k in range(21)]),
        "wrong count": packed(
            [("manifest.json", manifest | {"placements": "1"}), (POLICY_FILE, policy)]
        ),
        "negative count": packed(
            [("manifest.json", manifest | {"placements": -1}), (POLICY_FILE, policy)]
        ),
        "a large manifest": packed(
            [("manifest.json", b" " * (2 * 1024 * 1024)), (POLICY_FILE, policy)],
            zipfile.ZIP_DEFLATED,
        ),
        "cut short": packed([("manifest.json", manifest), (POLICY_FILE, policy)])[:-30],
        "spoilt": packed([("manifest.json", manifest), (POLICY_FILE, policy)]).replace(
            policy[100:140], bytes(40)
        ),
    }


BAD = bad_bundles()


@pytest.mark.parametrize("what", BAD)
def test_a_bad_bundle_is_refused(what):
    with pytest.raises(CheckpointError):
        export_sb3(BAD[what])


def test_a_bundle_with_a_file_twice_is_refused(learner):
    _, files = dump(learner, weights_only=True)
    members = [("manifest.json", manifest_of(learner, files)), *files.items(), *files.items()]
    with pytest.warns(UserWarning, match="Duplicate"):
        bundle = packed(members)
    with pytest.raises(CheckpointError, match="twice"):
        export_sb3(bundle)


def test_a_bomb_is_refused_before_it_is_unpacked(learner):
    _, files = dump(learner, weights_only=True)
    bomb = ("training.safetensors", bytes(260 * 1024 * 1024))
    members = [("manifest.json", manifest_of(learner, files)), *files.items(), bomb]
    with pytest.raises(CheckpointError, match="larger"):
        export_sb3(packed(members, zipfile.ZIP_DEFLATED))
