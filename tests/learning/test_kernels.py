import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch as th
from learning.helpers import random_network
from mltetris_server.game.config import FeatureSet, GameConfig, n_features
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, afterstates, new_games
from mltetris_server.game.snapshot import dump_games
from mltetris_server.learning.kernels import (
    EXPLORED,
    FATAL,
    LAST,
    NOT_A_CANDIDATE,
    Network,
    look,
    new_rollout,
    play,
    roll,
    roll_boards,
)
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.seeds import mixed
from mltetris_server.learning.td.kernels import Moments, descend, gradient, new_desk, returns

SEED = np.uint64(2**64 - 3)


def torch_twin(network: Network) -> th.nn.Sequential:
    hidden, inputs = network.hidden_weights.shape
    twin = th.nn.Sequential(th.nn.Linear(inputs, hidden), th.nn.ReLU(), th.nn.Linear(hidden, 1))
    parts = (*network[:2], network.output_weights.reshape(1, -1), network.output_bias)
    with th.no_grad():
        for parameter, part in zip(twin.parameters(), parts, strict=True):
            parameter.copy_(th.from_numpy(part))
    return twin


@pytest.mark.parametrize("features", [FeatureSet.SIMPLE, FeatureSet.BCTS, FeatureSet.DT])
@pytest.mark.parametrize(("width", "hidden"), [(10, 32), (4, 1), (7, 5)])
def test_look_values_placements_as_torch_does(features, width, hidden):
    config = GameConfig(width, 8)
    inputs = n_features(features, width)
    network = random_network(inputs, hidden)
    twin = torch_twin(network)
    eye, other = make_eye(features, width, -2.5), make_eye(features, width, -2.5)
    games = new_games(config, 8, 3)
    rollout, ended = new_rollout(8, inputs), np.zeros((8, 6), np.int64)
    fatal = 0
    for step in range(30):
        for i in range(8):
            best = look(games, i, network, eye)
            afterstates(games, i, features.code, other.scales, other.features, other.flags)
            with th.no_grad():
                values = twin(th.from_numpy(other.features)).squeeze(1).numpy()
            ends = (other.flags & ENDS_GAME) != 0
            values[ends] = -2.5
            values[(other.flags & CANDIDATE) == 0] = NOT_A_CANDIDATE
            np.testing.assert_allclose(eye.values, values, rtol=1e-4, atol=1e-5)
            assert best == int(np.argmax(eye.values))
            fatal += int(ends.sum())
        roll(games, network, eye, rollout, 0.5, SEED, step, 0, 8, ended)
    assert fatal > 0  # the games came to where they end


@pytest.mark.parametrize(("hidden", "inputs"), [(1, 8), (6, 3), (16, 13), (32, 8), (40, 9)])
def test_gradient_is_torchs(hidden, inputs):
    size, batch = 50, 64
    network = random_network(inputs, hidden, seed=4)
    random = np.random.default_rng(5)
    features = random.normal(size=(size, inputs)).astype(np.float32)
    targets = random.normal(size=size, scale=3).astype(np.float32)
    targets[::7] = np.nan
    desk = new_desk(inputs, hidden, batch)
    # Which rows it draws shows in the losses of targets that are known to be right but for one.
    counts = np.zeros(size, int)
    for row in range(size):
        only = np.full(size, np.nan, np.float32)
        only[row] = 0
        loss = gradient(features, only, size, batch, SEED, network, desk)
        counts[row] = loss > 0
    loss = gradient(features, targets, size, batch, SEED, network, desk)
    drawn = np.flatnonzero(counts)
    assert 20 < drawn.size < size
    rows = np.array([_drawn_row(k, size) for k in range(batch)])
    assert set(drawn) == set(rows)
    rows = rows[~np.isnan(targets[rows])]
    twin = torch_twin(network)
    expected = th.nn.functional.smooth_l1_loss(
        twin(th.from_numpy(features[rows])).squeeze(1), th.from_numpy(targets[rows])
    )
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for parameter, part in zip(twin.parameters(), desk.gradient, strict=True):
        np.testing.assert_allclose(
            part.reshape(parameter.shape), parameter.grad.numpy(), rtol=1e-3, atol=1e-5
        )


def _drawn_row(k: int, size: int) -> int:
    mask = 2**64 - 1
    z = (int(SEED) + k + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 32) * size >> 32


def test_a_batch_without_anything_to_learn_has_no_slope():
    network = random_network(3, 2)
    desk = new_desk(3, 2, 8)
    for part in desk.gradient:
        part[...] = 9
    nothing, features = np.full(4, np.nan, np.float32), np.ones((4, 3), np.float32)
    assert gradient(features, nothing, 4, 8, SEED, network, desk) == 0
    assert all((part == 0).all() for part in desk.gradient)


def test_steps_are_those_of_torchs_adam():
    inputs, hidden, size, batch = 8, 20, 40, 32
    random = np.random.default_rng(5)
    features = random.normal(size=(size, inputs)).astype(np.float32)
    targets = random.normal(size=size, scale=3).astype(np.float32)
    network = random_network(inputs, hidden, seed=4)
    twin = torch_twin(network)
    nothing = [Network(*(np.zeros_like(part) for part in network)) for _ in range(2)]
    moments = Moments(np.zeros(1, np.float32), *nothing)
    optimizer = th.optim.Adam(twin.parameters(), 1e-2)
    desk = new_desk(inputs, hidden, batch)
    expected = 0.0
    for k in range(200):
        draw = np.uint64(mixed(int(SEED) + k))
        at = Network(*(np.array(p.detach().reshape(q.shape)) for p, q in _pairs(twin, network)))
        expected += gradient(features, targets, size, batch, draw, at, desk)
        for parameter, part in _pairs(twin, desk.gradient):
            parameter.grad = th.from_numpy(part.copy()).reshape(parameter.shape)
        optimizer.step()
    losses = sum(
        descend(features, targets, size, batch, SEED, *cut, network, moments, 1e-2, desk)
        for cut in ((0, 1), (1, 50), (50, 200))
    )
    assert moments.step[0] == 200
    assert losses == pytest.approx(expected, rel=1e-3)
    for parameter, part in _pairs(twin, network):
        weights = parameter.detach().numpy().reshape(part.shape)
        np.testing.assert_allclose(part, weights, rtol=1e-2, atol=1e-3)
        assert np.abs(part).max() > 0.05


def _pairs(twin, network):
    return zip(twin.parameters(), network, strict=True)


def naive_returns(rollout, boards, behind, gamma, lam, death):
    """The docstring's recursion, by the book."""
    steps = rollout.values.size // boards
    targets = np.zeros(rollout.values.size)
    for i in range(boards):
        values = [*rollout.values[i::boards], behind[i]]
        kinds = rollout.kinds[i::boards]

        def ahead(t, values=values, kinds=kinds):
            if kinds[t] & LAST:
                return death
            if t + 1 == steps or kinds[t + 1] & EXPLORED:
                return gamma * values[t + 1]
            return gamma * ((1 - lam) * values[t + 1] + lam * ahead(t + 1))

        for t in range(steps):
            targets[t * boards + i] = np.nan if kinds[t] & FATAL else ahead(t)
    return targets


@pytest.mark.parametrize(("gamma", "lam"), [(0.98, 0.8), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)])
def test_returns_are_td_lambda(gamma, lam):
    boards, steps, inputs = 3, 20, 8
    network = random_network(inputs, 4)
    eye = make_eye(FeatureSet.BCTS, 6, -10)
    games = new_games(GameConfig(6, 5), boards, 1)
    rollout, ended = new_rollout(boards * steps, inputs), np.zeros((boards * steps, 6), np.int64)
    roll(games, network, eye, rollout, 0.3, SEED, 0, 0, boards * steps, ended)
    kinds = rollout.kinds
    assert {EXPLORED, FATAL, LAST} <= {bit for bit in (1, 2, 4) if (kinds & bit).any()}
    assert (kinds & LAST != 0)[kinds & FATAL != 0].all()
    behind = []
    for i in range(boards):
        look(games, i, network, eye)
        behind.append(float(eye.values.max()))
    targets = np.zeros(boards * steps, np.float32)
    returns(games, network, eye, rollout, gamma, lam, 0, 2, targets)
    returns(games, network, eye, rollout, gamma, lam, 2, 3, targets)
    expected = naive_returns(rollout, boards, behind, gamma, lam, -10)
    np.testing.assert_allclose(targets, expected, rtol=1e-5)


def rolled(cuts):
    games, inputs = new_games(GameConfig(8, 6), 5, 9), 8
    eye, network = make_eye(FeatureSet.BCTS, 8, -10), random_network(8, 4)
    rollout, endings = new_rollout(60, inputs), []
    for start, stop in itertools.pairwise(cuts):
        ended = np.zeros((stop - start, 6), np.int64)
        count = roll(games, network, eye, rollout, 0.2, SEED, 100, start, stop, ended)
        endings += ended[:count].tolist()
    return games, rollout, endings


def test_it_does_not_matter_where_a_rollout_is_cut():
    games, rollout, endings = rolled([0, 60])
    others, other_rollout, other_endings = rolled([0, 1, 5, 23, 24, 59, 60])
    for name, array in dump_games(games).items():
        np.testing.assert_array_equal(array, getattr(others, name))
    for mine, other in zip(rollout, other_rollout, strict=True):
        np.testing.assert_array_equal(mine, other)
    assert endings == other_endings
    assert len(endings) > 3


def test_it_does_not_matter_which_boards_are_rolled_first():
    games, rollout, endings = rolled([0, 60])
    others = new_games(GameConfig(8, 6), 5, 9)
    other_rollout, other_endings = new_rollout(60, 8), []
    for start, stop in ((0, 7), (7, 60)):
        for first, last in ((3, 5), (0, 1), (1, 3), (3, 3)):
            eye, ended = make_eye(FeatureSet.BCTS, 8, -10), np.zeros((60, 6), np.int64)
            arguments = (random_network(8, 4), eye, other_rollout, 0.2, SEED, 100, start, stop)
            count = roll_boards(others, *arguments, first, last, ended)
            other_endings += ended[:count].tolist()
    for mine, other in zip(rollout, other_rollout, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(games.columns, others.columns)
    assert sorted(other_endings) == endings


def test_what_ended_is_told():
    games, rollout, endings = rolled([0, 60])
    assert [k for k, *_ in endings] == np.flatnonzero(rollout.kinds & LAST).tolist()
    for k, board, number, lines, placements, score in endings:
        assert board == k % 5
        before = [row for row in endings if row[1] == board and row[0] < k]
        assert number == 1 + len(before)
        begun = before[-1][0] if before else board - 5
        assert placements == (k - begun) // 5
        assert score >= placements - 1 + 8 * lines
    assert games.episode.sum() == 5 + len(endings)


def test_exploration_is_as_probable_as_told_and_draws_candidates():
    games, eye = new_games(GameConfig(), 64, 1), make_eye(FeatureSet.BCTS, 10, -10)
    network = random_network(8, 4)
    rollout, ended = new_rollout(64 * 60, 8), np.zeros((64 * 60, 6), np.int64)
    roll(games, network, eye, rollout, 0.0, SEED, 0, 0, 64 * 60, ended)
    assert not (rollout.kinds & EXPLORED).any()
    roll(games, network, eye, rollout, 0.25, SEED, 60, 0, 64 * 60, ended)
    # One of about 24 random candidates is the best one, which is no exploring.
    share = (rollout.kinds & EXPLORED).mean()
    assert 0.25 * 0.9 < share < 0.25 * 1.05
    roll(games, network, eye, rollout, 1.0, SEED, 120, 0, 64 * 60, ended)
    assert (rollout.kinds & EXPLORED).mean() > 0.9
    assert (games.over == 0).all()


def test_play_in_slices_is_play_at_once():
    network, eye = random_network(8, 4, seed=2), make_eye(FeatureSet.BCTS, 10, -10)
    whole, sliced = (new_games(GameConfig(), 6, 3) for _ in range(2))
    done, sliced_done = np.zeros(6, np.uint8), np.zeros(6, np.uint8)
    made = play(whole, network, eye, done, 1000, 10**9)
    slices = 0
    while not sliced_done.all():
        slices += play(sliced, network, eye, sliced_done, 1000, 7)
    assert made == slices == whole.placements.sum()
    np.testing.assert_array_equal(whole.lines, sliced.lines)
    assert done.all()
    assert whole.over.all()


@pytest.mark.slow
def test_kernels_stay_inside_their_arrays(tmp_path):
    """With numba's bounds checks on, at sizes where a step too far would show."""
    code = """
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.hyperparameters import TdConfig
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.td import TD
for width, height, hidden in ((4, 4, 1), (10, 20, 32), (32, 40, 7)):
    for features in (FeatureSet.SIMPLE, FeatureSet.BCTS, FeatureSet.DT):
        config = TdConfig.for_game(height, features, dict(boards=3, rollout_steps=5, batch_size=9,
            window=2, hidden_units=hidden))
        td = TD(game=GameConfig(width, height), features=features, config=config, seed=1)
        td.learn(300)
        GreedyEvaluation(td.player(), td.game, 2, 1, 5).advance(2000)
print("inside")
"""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=170
    )
    assert done.stdout.strip() == "inside", done.stderr
