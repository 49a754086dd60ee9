"""SB3 .zip files from whoever: ours come back as they went, and nothing in any of them runs."""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
import torch as th
from learning.test_every_algorithm import LOW, SMALL, STRETCH, every
from mltetris_server.game.config import FeatureSet
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import TRAINABLE
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.bundle import read_bundle
from mltetris_server.learning.checkpoint import dump, load
from mltetris_server.learning.foreign import MAX_DATA_BYTES, MODEL, import_sb3
from mltetris_server.learning.model import CheckpointError, ModelDescription
from stable_baselines3 import DQN


def saved(agent: Any) -> bytes:
    target = io.BytesIO()
    agent.save(target)
    return target.getvalue()


def learner(name: str, features: FeatureSet = FeatureSet.BCTS) -> Any:
    agent = algorithm(name).create(
        ModelDescription(features, LOW, SMALL[name]), seed=3, threads=1, verbose=0
    )
    agent.learn(STRETCH[name])
    return agent


@pytest.fixture(scope="module")
def td_zip() -> bytes:
    return saved(learner("td"))


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(parts: dict[str, bytes | None]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in parts.items():
            if data is not None:
                archive.writestr(name, data)
    return target.getvalue()


def pth(value: Any) -> bytes:
    target = io.BytesIO()
    th.save(value, target)
    return target.getvalue()


@every
def test_what_was_saved_plays_the_same(name: str) -> None:
    for features in TRAINABLE[name].feature_sets:
        if features == "board" and name != "td":
            continue
        config = SMALL[name]
        try:
            config.check(LOW.height, FeatureSet(features))
        except ValueError:
            continue
        agent = learner(name, FeatureSet(features))
        manifest, files = read_bundle(import_sb3(saved(agent)))
        model, expected = dump(agent, weights_only=True)
        assert manifest["model"] == model
        assert manifest["placements"] == agent.num_timesteps
        assert files == expected, "the weights that play are the same to the last bit"
        if features != "bcts":
            continue
        again = load(model, files, placements=manifest["placements"])
        env = gymnasium.make(PLACEMENT_ENV)
        observation, _ = env.reset(seed=5)
        for _ in range(20):
            action, _ = agent.predict(observation, deterministic=True)
            assert again.predict(observation, deterministic=True)[0] == action
            observation, _, ended, _, _ = env.step(int(action))
            if ended:
                break


def test_stock_sb3_still_reads_it(td_zip: bytes) -> None:
    assert DQN.load(io.BytesIO(td_zip)).num_timesteps == STRETCH["td"]


class Bomb:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._path),)


def test_nothing_in_it_runs(td_zip: bytes, tmp_path: Path) -> None:
    """Pickles in `data` and in every .pth file, in each of the ways there are."""
    hit = tmp_path / "hit"
    parts: dict[str, bytes | None] = dict(members(td_zip))
    pickled = pickle.dumps(Bomb(hit))
    # That it would run: as stable-baselines3 and torch read it otherwise.
    pickle.loads(pickled)  # noqa: S301 - it is the point
    hit.rmdir()
    document = json.loads(parts["data"] or b"")
    serialized = {
        ":type:": "x",
        ":serialized:": base64.b64encode(cloudpickle.dumps(Bomb(hit))).decode(),
    }
    for key in (*document, "another"):
        changed = document | {key: serialized}
        content = zipped(parts | {"data": json.dumps(changed).encode()})
        if key in (MODEL, "num_timesteps"):
            with pytest.raises(CheckpointError, match=r"data|model"):
                import_sb3(content)
        else:
            assert import_sb3(content)
        assert not hit.exists(), key
    state = th.load(io.BytesIO(parts["policy.pth"] or b""), weights_only=True)
    name = next(key for key in state if key.startswith("q_net_target"))
    for bad in (
        pth(Bomb(hit)),
        pth(state | {"x": Bomb(hit)}),
        pth(state | {name: Bomb(hit)}),
        pickled,
    ):
        with pytest.raises(CheckpointError, match=r"policy\.pth"):
            import_sb3(zipped(parts | {"policy.pth": bad}))
        assert not hit.exists()
    for other in ("policy.optimizer.pth", "pytorch_variables.pth"):
        # Never even opened.
        assert import_sb3(zipped(parts | {other: pth(Bomb(hit))}))
        assert not hit.exists()


def changed(td_zip: bytes, change: Any) -> bytes:
    """The .zip with another `data`."""
    parts: dict[str, bytes | None] = dict(members(td_zip))
    document = json.loads(parts["data"] or b"")
    change(document)
    return zipped(parts | {"data": json.dumps(document).encode()})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: data.pop(MODEL), "not saved by an algorithm of mlTetris"),
        (lambda data: data.update({MODEL: "td"}), "not saved by an algorithm of mlTetris"),
        (lambda data: data[MODEL].update(algorithm="sac"), "model.algorithm"),
        (lambda data: data[MODEL].update(features="pixels"), "model.features"),
        (lambda data: data[MODEL]["game"].update(width=1000), "model.game"),
        (lambda data: data[MODEL].update(network={"inputs": 1, "hidden": []}), "model.network"),
        (lambda data: data[MODEL].update(algorithm="ppo"), "model.hyperparameters"),
        (lambda data: data.update(num_timesteps=-1), "num_timesteps"),
        (lambda data: data.update(num_timesteps="1"), "num_timesteps"),
        (lambda data: data.update(num_timesteps=10**30), "num_timesteps"),
    ],
)
def test_data_that_says_something_else_is_refused(
    td_zip: bytes, change: Any, complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        import_sb3(changed(td_zip, change))


def test_what_lacks_a_part_or_is_too_large_is_refused(td_zip: bytes) -> None:
    parts: dict[str, bytes | None] = dict(members(td_zip))
    for name in ("data", "policy.pth"):
        with pytest.raises(CheckpointError, match=f"{name}: is missing"):
            import_sb3(zipped(parts | {name: None}))
    for name, data in {
        "data": b" " * (MAX_DATA_BYTES + 1),
        "policy.pth": parts["policy.pth"][:-50],  # type: ignore[index]
    }.items():
        with pytest.raises(CheckpointError):
            import_sb3(zipped(parts | {name: data}))
    for text in (b"", b"[]", b"{", b"[" * 100_000, b"\xff"):
        with pytest.raises(CheckpointError, match="data"):
            import_sb3(zipped(parts | {"data": text}))


def test_tensors_of_other_shapes_are_refused(td_zip: bytes) -> None:
    parts: dict[str, bytes | None] = dict(members(td_zip))
    state = th.load(io.BytesIO(parts["policy.pth"] or b""), weights_only=True)
    name = "q_net_target.q_net.0.weight"
    good = state[name]
    huge = th.zeros(1).expand(2**40)  # a tensor that claims 4 TB of one number
    for bad in (
        good[:, :-1], good.double(), good.reshape(-1), huge, good.to_sparse(),
        th.full_like(good, float("nan")), th.full_like(good, np.inf),
    ):  # fmt: skip
        content = zipped(parts | {"policy.pth": pth(state | {name: bad})})
        with pytest.raises(CheckpointError, match=r"policy\.pth"):
            import_sb3(content)
    for more in ("q_net_target.q_net.9.weight", "q_net_target.q_net.x"):
        with pytest.raises(CheckpointError, match=r"policy\.pth"):
            import_sb3(zipped(parts | {"policy.pth": pth(state | {more: good})}))
    with pytest.raises(CheckpointError, match=r"policy\.pth"):
        import_sb3(zipped(parts | {"policy.pth": pth({})}))
    with pytest.raises(CheckpointError, match=r"policy\.pth"):
        import_sb3(zipped(parts | {"policy.pth": pth([good])}))


def test_somebody_elses_is_refused_and_it_is_said_why() -> None:
    stock = DQN("MlpPolicy", "CartPole-v1", buffer_size=100)
    with pytest.raises(CheckpointError, match="not saved by an algorithm of mlTetris"):
        import_sb3(saved(stock))
