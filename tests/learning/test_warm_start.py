"""Learning from games that somebody else played."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch as th
from learning.helpers import random_network
from mltetris_server.game.config import FeatureSet, GameConfig, Rule, feature_scales, n_features
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, afterstates, new_games, place
from mltetris_server.hyperparameters import CONFIGS, TdConfig
from mltetris_server.learning.agent import Agent
from mltetris_server.learning.algorithms import algorithm
from mltetris_server.learning.checkpoint import dump, load
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import Network
from mltetris_server.learning.model import ModelDescription
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.td import TD
from mltetris_server.learning.trajectories import Trajectories, TrajectoriesError
from mltetris_server.learning.warm_start import CLONING, REPLAY, WarmStart, begin, examples
from mltetris_server.learning.warm_start.imitation import imitation
from mltetris_server.learning.warm_start.kernels import CUT, ENDED, FIRST, Examples, Tape
from mltetris_server.learning.warm_start.tape import cut
from support.games_to_learn import played

GAME = GameConfig()
SHORT = GameConfig(height=8)


def agent_of(name: str, features: FeatureSet = FeatureSet.BCTS, seed: int = 1) -> Agent:
    config = CONFIGS[name].for_game(GAME.height, features)  # type: ignore[attr-defined]
    description = ModelDescription(features, GAME, config)
    return algorithm(name).create(description, seed=seed, threads=1, verbose=0)


def start(agent: Agent, games: Trajectories, method: str = CLONING, **options: float) -> WarmStart:
    settings = {"epochs": 2, "max_placements": 2_000, "learning_rate": 0.01, **options}
    return begin(agent, games, method=method, **settings)  # type: ignore[arg-type]


def finish(warm_start: WarmStart) -> None:
    while not warm_start.done:
        warm_start.advance()
    warm_start.settle()


def all_examples(block: examples.Block) -> list[tuple[np.ndarray, int]]:
    """The states of one pass: their candidates' features, and which was made."""
    found = []
    while True:
        while not block.whole:
            block.collect()
        features, starts, made = block.examples
        for k in range(block.count):
            found.append((features[starts[k] : starts[k + 1]].copy(), int(made[k])))
        if block.last:
            return found
        block.turn()


# What is learnt from.


def games_of(lengths: list[int], ended: list[int] | None = None) -> Trajectories:
    """Games that are only looked at: pieces 1 everywhere, actions count up to tell them apart."""
    total = sum(lengths)
    return Trajectories(
        GAME,
        np.ones(total, np.uint8),
        np.ones(total, np.uint8),
        (np.arange(total) % 40).astype(np.uint8),
        np.cumsum([0, *lengths[:-1]]).astype(np.int64),
        np.array(ended or [1] * len(lengths), np.uint8),
        np.zeros(len(lengths), np.int64),
    )


def game_lengths(tape: Tape) -> list[int]:
    begins = np.flatnonzero(tape.marks & FIRST)
    ends = np.flatnonzero(tape.marks & (ENDED | CUT)) + 1
    assert begins[0] == 0 and ends[-1] == tape.marks.size and (begins[1:] == ends[:-1]).all()
    return (ends - begins).tolist()


def test_all_of_a_small_dataset_is_taken() -> None:
    games = games_of([5, 700, 1], [1, 0, 1])
    tape = cut(games, 10_000, seed=3)
    assert sorted(game_lengths(tape)) == [1, 5, 700]
    assert sorted(tape.actions.tolist()) == sorted(games.actions.tolist())
    assert np.count_nonzero(tape.marks & ENDED) == 2
    assert np.count_nonzero(tape.marks & CUT) == 1


def test_of_long_games_the_beginnings_are_taken() -> None:
    tape = cut(games_of([5_000, 600, 8_000, 7_000]), 4_000, seed=3)
    assert sorted(game_lengths(tape)) == [600, 1133, 1133, 1133]
    ends = np.flatnonzero(tape.marks & (ENDED | CUT))
    assert np.count_nonzero(tape.marks[ends] & ENDED) == 1  # the short one is whole


def test_of_many_games_some_are_taken_from_all_over() -> None:
    games = games_of([100] * 500)
    games.actions[:] = np.repeat(np.arange(500) // 100, 100)
    tape = cut(games, 10_050, seed=3)
    assert tape.pieces.size == 10_050
    assert game_lengths(tape)[:-1] == [100] * 100
    assert game_lengths(tape)[-1] == 50
    # Of every fifth of the dataset about as many.
    counts = np.bincount(tape.actions) / 100
    assert counts.size == 5 and (counts > 8).all()


def test_the_choice_follows_from_the_seed() -> None:
    games = games_of(list(range(100, 200)))
    one, same, other = (cut(games, 3_000, seed) for seed in (3, 3, 4))
    assert game_lengths(one) == game_lengths(same) != game_lengths(other)
    assert (one.actions == same.actions).all()


@pytest.mark.parametrize("features", [FeatureSet.SIMPLE, FeatureSet.DT, FeatureSet.BOARD])
@pytest.mark.parametrize("rule", list(Rule))
def test_states_are_those_the_player_saw(features: FeatureSet, rule: Rule) -> None:
    """Against the engine itself, also where games end and random placements are made."""
    game = GameConfig(height=8, rule=rule)
    source = played(game, 600, exploration=0.3)
    assert source.games > 10
    tape = cut(source, 10_000, seed=0)
    found = iter(all_examples(examples.Block(game, features, tape)))
    scales = feature_scales(features, game.width)
    rows, flags = np.empty((40, n_features(features, 10)), np.float32), np.empty(40, np.uint8)
    for k in range(tape.pieces.size):
        if tape.marks[k] & FIRST:
            games = new_games(game, 1, seed=0)
        games.pieces[0] = tape.pieces[k], tape.next_pieces[k]
        afterstates(games, 0, features.code, scales, rows, flags)
        action = int(tape.actions[k])
        kept = (flags & (CANDIDATE | ENDS_GAME)) == CANDIDATE
        if kept[action]:
            candidates, made = next(found)
            np.testing.assert_array_equal(candidates, rows[kept])
            assert np.flatnonzero(kept)[made] == action
        place(games, 0, action)
    assert next(found, None) is None


def test_blocks_hold_what_one_large_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    tape = cut(played(SHORT, 600, exploration=0.3), 10_000, seed=0)
    whole = all_examples(examples.Block(SHORT, FeatureSet.BCTS, tape))
    monkeypatch.setattr(examples, "BLOCK_NUMBERS", 8 * 300)
    block = examples.Block(SHORT, FeatureSet.BCTS, tape)
    for _ in range(2):  # and once more from the beginning
        parts = all_examples(block)
        assert block.number > 20
        assert len(parts) == len(whole)
        for (features, made), (expected, expected_made) in zip(parts, whole, strict=True):
            np.testing.assert_array_equal(features, expected)
            assert made == expected_made
        block.turn()


@pytest.mark.parametrize("method", [CLONING, REPLAY])
def test_placements_that_cannot_have_been_are_refused(method: str) -> None:
    source = played(SHORT, 600, exploration=0.3)
    illegal = source.actions.copy()
    illegal[300] = 39  # sticks out at the right
    early = source.ended.copy()
    early[np.flatnonzero(early == 0)[0]] = 1  # did not end there
    late = source.ended.copy()
    late[np.flatnonzero(late == 1)[0]] = 0
    for change in ({"actions": illegal}, {"ended": early}, {"ended": late}):
        if "ended" in change and method == REPLAY and change["ended"] is late:
            continue  # a game that is cut off may have been over
        warm_start = start(agent_of("td"), replace(source, **change), method)  # type: ignore[arg-type]
        with pytest.raises(TrajectoriesError, match="actions: placement"):
            finish(warm_start)


def test_other_boards_and_other_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="8 wide"):
        start(agent_of("td"), played(GameConfig(width=8), 40))
    with pytest.raises(ValueError, match="ppo cannot"):
        start(agent_of("ppo"), played(), REPLAY)


# Cloning.


def some_examples(features: FeatureSet) -> tuple[Examples, int]:
    block = examples.Block(GAME, features, cut(played(), 300, seed=0))
    while not block.whole:
        block.collect()
    return block.examples, block.count


@pytest.mark.parametrize("hidden", [0, 5, 32])
def test_the_gradient_is_torchs(hidden: int) -> None:
    data, count = some_examples(FeatureSet.BCTS)
    network = random_network(8, hidden)
    if not hidden:
        weights = np.random.default_rng(0).normal(size=8).astype(np.float32)
        network = Network(
            np.zeros((0, 8), np.float32), np.zeros(0, np.float32), weights, weights[:1]
        )
    order = np.array([3, 0, count - 1, 17])
    mine, figures = imitation(FeatureSet.BCTS, network, GAME), np.zeros(2)
    mine.take(data, order, figures)
    theirs = [th.tensor(part, requires_grad=True) for part in network]
    losses, hits = [], 0
    for n in order:
        rows = th.from_numpy(data.features[data.starts[n] : data.starts[n + 1]])
        units = th.relu(rows @ theirs[0].T + theirs[1]) if hidden else rows
        scores = units @ theirs[2] + theirs[3]
        losses.append(th.nn.functional.cross_entropy(scores, th.tensor(data.made[n])))
        hits += int(scores.argmax() == data.made[n])
    loss = th.stack(losses)
    loss.mean().backward()
    assert figures[0] == pytest.approx(float(loss.sum().detach()), rel=1e-5)
    assert figures[1] == hits
    for slopes, part in zip(mine.slopes, theirs, strict=True):
        if part.grad is not None and part.numel():
            np.testing.assert_allclose(slopes, part.grad.numpy(), rtol=1e-3, atol=1e-6)


def test_the_tables_gradient_is_the_difference_quotient() -> None:
    data, count = some_examples(FeatureSet.BOARD)
    table = agent_of("td", FeatureSet.BOARD).player().network
    random = np.random.default_rng(0)
    table.output_weights[:] = random.normal(size=table.output_weights.size)
    order = np.arange(min(count, 20))
    mine = imitation(FeatureSet.BOARD, table, GAME)

    def loss() -> float:
        figures = np.zeros(2)
        mine.take(data, order, figures)
        return float(figures[0]) / order.size

    loss()
    slopes = mine.slopes.output_weights.copy()
    assert np.count_nonzero(slopes) > 100
    for entry in random.choice(np.flatnonzero(slopes), 10):
        # A window and its mirror image move together.
        bits = int(entry)
        pair = {bits}
        if bits < 1 << 16:
            pair.add(sum(((bits >> 4 * j) & 15) << 4 * (3 - j) for j in range(4)))
        before = table.output_weights.copy()
        table.output_weights[list(pair)] = before[list(pair)] + 0.01
        above = loss()
        table.output_weights[list(pair)] = before[list(pair)] - 0.01
        below = loss()
        table.output_weights[:] = before
        assert (above - below) / 0.02 == pytest.approx(slopes[entry], rel=0.02, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("td", FeatureSet.BCTS),
        ("td", FeatureSet.SIMPLE),
        ("td", FeatureSet.BOARD),
        ("dqn", FeatureSet.DT),
        ("ppo", FeatureSet.BCTS),
        ("cem", FeatureSet.BCTS),
    ],
)
def test_who_has_cloned_makes_the_same_placements(name: str, features: FeatureSet) -> None:
    agent = agent_of(name, features)
    warm_start = start(agent, played(), epochs=4)
    losses = []
    for epoch in range(1, 5):
        while warm_start.epoch == epoch and not warm_start.done:
            warm_start.advance()
        loss, accuracy = warm_start.take_figures()
        assert loss is not None and accuracy is not None
        losses.append(loss)
    assert warm_start.take_figures() == (None, None)
    assert losses == sorted(losses, reverse=True)
    assert accuracy > 0.5
    warm_start.settle()
    assert agent.num_timesteps == 0
    # On states it has not seen.
    block = examples.Block(GAME, features, cut(played(placements=800, boards=1), 1_000, seed=0))
    right, values = 0, []
    games, player = new_games(GAME, 1, seed=0), agent.player()
    tape, eye = block._tape, player.eye(GAME)
    for k in range(tape.pieces.size):
        games.pieces[0] = tape.pieces[k], tape.next_pieces[k]
        right += player.choose_on(games, 0, eye) == tape.actions[k]
        values.append(eye.values[(eye.flags & (CANDIDATE | ENDS_GAME)) == CANDIDATE])
        place(games, 0, int(tape.actions[k]))
    assert right > 0.5 * tape.pieces.size
    if name in ("td", "dqn"):  # and what it says lies where values do: the death reward is -10
        assert -3 < np.mean([candidates.max() for candidates in values]) < 1
        assert -9 < np.mean(np.concatenate(values)) < -2
    # What follows learns from there.
    agent.learn(1_000, reset_num_timesteps=False)
    assert np.isfinite(agent.player().network.output_weights).all()


def test_a_cloned_player_lasts() -> None:
    agent = agent_of("td")
    finish(start(agent, played(), epochs=6))
    result = GreedyEvaluation(agent.player(), GAME, 10, 7, 500).run()
    assert result.mean_lines > 300  # with random weights: below 1


def weights(agent: Agent) -> bytes:
    return b"".join(part.tobytes() for part in agent.player().network)


@pytest.mark.parametrize("method", [CLONING, REPLAY])
def test_the_same_seed_gives_the_same_weights(method: str) -> None:
    made = []
    for seed in (1, 1, 2):
        agent = agent_of("td", seed=seed)
        agent.play_as(random_network(8, 32))  # the same beginning for all
        finish(start(agent, played(), method))
        made.append(weights(agent))
    assert made[0] == made[1]
    if method == CLONING:
        assert made[0] != made[2]


def test_who_is_stopped_midway_has_what_was_learnt_so_far() -> None:
    agent = agent_of("td")
    before = weights(agent)
    warm_start = start(agent, played(), epochs=1000)
    warm_start.advance()
    warm_start.settle()
    assert weights(agent) == before  # nothing has been learnt yet
    for _ in range(10):
        warm_start.advance()
    warm_start.settle()
    assert not warm_start.done
    assert weights(agent) != before
    model, files = dump(agent)
    load(model, files)


def test_data_without_a_choice_to_learn_from_changes_nothing() -> None:
    """A square, turned: the same as one that is not."""
    square, none = np.full(1, 2, np.uint8), np.zeros(1, np.int64)
    turned, ended = np.full(1, 17, np.uint8), np.zeros(1, np.uint8)
    one = Trajectories(GAME, square, square, turned, none, ended, none)
    agent = agent_of("td")
    before = agent.player().network
    warm_start = start(agent, one)
    finish(warm_start)
    assert warm_start.take_figures() == (None, None)
    for part, was in zip(agent.player().network, before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_it_can_be_shown_while_a_block_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "BLOCK_NUMBERS", 8 * 300)
    agent = agent_of("td")
    warm_start = start(agent, played(placements=400), epochs=1)
    while not warm_start.done:
        warm_start.advance()
        warm_start.settle()
        assert all(np.isfinite(part).all() for part in agent.player().network)


# Replay.


def test_games_go_through_rounds_of_its_own() -> None:
    config = TdConfig(boards=4, rollout_steps=8, batch_size=16, epochs=2, window=30)
    agent = TD(config=config, seed=1)
    before = weights(agent)
    warm_start = start(agent, played(SHORT, 600, exploration=0.3), REPLAY, epochs=1)
    finish(warm_start)
    assert warm_start.placements == 600
    rounds = agent.rounds
    assert rounds.window.filled == -(-600 // 32)
    assert agent.gradient_steps_made == rounds.window.filled * rounds.minibatches
    assert (agent.num_timesteps, rounds.number, rounds.position) == (0, 0, 0)
    loss, accuracy = warm_start.take_figures()
    assert loss is not None and loss > 0 and accuracy is None
    assert weights(agent) != before
    # And on from a checkpoint, as if nothing had been.
    model, files = dump(agent)
    again = load(model, files)
    agent.learn(100, reset_num_timesteps=False)
    again.learn(100, reset_num_timesteps=False)
    assert weights(agent) == weights(again)


def test_targets_are_those_of_the_players_own_games() -> None:
    """TD(lambda) written down plainly: one board, one round, nothing learnt before it."""
    game = GameConfig(height=8)
    source = played(game, 80, boards=1, exploration=0.5)
    assert source.ended.sum() >= 2
    config = TdConfig(
        boards=1, rollout_steps=80, batch_size=8, window=2, gamma=0.9, td_lambda=0.7,
        training_height=8,
    )  # fmt: skip
    agent = TD(config=config, seed=1, game=GameConfig(height=8))
    network = agent.player().network
    tape = cut(source, 1_000, agent.run_seed)
    warm_start = start(agent, source, REPLAY, epochs=1)
    while not agent.rounds.window.filled:
        warm_start.advance()
    features, targets = agent.rounds.window.features, agent.rounds.window.targets
    eye = make_eye(FeatureSet.BCTS, 10, config.fatal_value)
    values, fatal = [], []
    for k in range(80):
        if tape.marks[k] & FIRST:
            games = new_games(game, 1, seed=0)
        games.pieces[0] = tape.pieces[k], tape.next_pieces[k]
        afterstates(games, 0, FeatureSet.BCTS.code, eye.scales, eye.features, eye.flags)
        row, ends = eye.features[tape.actions[k]], bool(eye.flags[tape.actions[k]] & ENDS_GAME)
        fatal.append(ends)
        units = np.maximum(network.hidden_weights @ row + network.hidden_bias, 0)
        value = float(units @ network.output_weights + network.output_bias[0])
        values.append(config.fatal_value if ends else value)
        if not ends and not tape.marks[k] & CUT:
            np.testing.assert_array_equal(features[k], row)
        place(games, 0, int(tape.actions[k]))
    ahead = 0.0
    for k in range(79, -1, -1):
        if tape.marks[k] & ENDED:
            ahead = config.fatal_value
        elif tape.marks[k] & CUT:
            assert np.isnan(targets[k])
            ahead = values[k]  # nothing behind it is known
            continue
        elif tape.marks[k + 1] & CUT:
            ahead = 0.9 * values[k + 1]
        else:
            ahead = 0.9 * (0.3 * values[k + 1] + 0.7 * ahead)
        if fatal[k]:
            assert np.isnan(targets[k])
        else:
            assert targets[k] == pytest.approx(ahead, rel=1e-4)


def test_boards_that_no_training_board_can_be_are_not_remembered() -> None:
    config = replace(TdConfig.for_game(20, "board"), boards=4, training_height=4, window=3)
    agent = TD(features=FeatureSet.BOARD, config=config, seed=1)
    finish(start(agent, played(exploration=0.2), REPLAY, epochs=1))
    targets = agent.rounds.window.targets[: agent.rounds.window.size]
    assert np.isnan(targets).any() and not np.isnan(targets).all()
    model, files = dump(agent)  # a checkpoint with such boards would be refused
    load(model, files)
