import copy
import csv
import io
import json

import gymnasium
import numpy as np
import pytest
from learning.helpers import random_network
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.engine import new_games, place
from mltetris_server.game.players import PLAYERS
from mltetris_server.game.registration import PLACEMENT_ENV
from mltetris_server.hyperparameters import CemConfig, HyperparameterError, TdConfig
from mltetris_server.learning.cem import CEM
from mltetris_server.learning.cem.distribution import Distribution, shares
from mltetris_server.learning.checkpoint import CheckpointError, dump, load
from mltetris_server.learning.evaluation import GreedyEvaluation
from mltetris_server.learning.kernels import Network, look
from mltetris_server.learning.model import POLICY_FILE, TRAINING_FILE, dump_network
from mltetris_server.learning.player import make_eye
from mltetris_server.learning.reference import description_of, network_of
from safetensors.numpy import load as parse
from safetensors.numpy import save as format_file
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CheckpointCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure

FRESH_GAMES = 424_242
LOW = GameConfig(10, 6)
SMALL = CemConfig(boards=12, elite=3, training_height=6)
STILL_IN_PLAY = np.iinfo(np.int64).max


class StopAt(BaseCallback):
    """Ends training at its n-th turn, and notes when the others were."""

    def __init__(self, turn: int | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.placements = [0]
        self._turn = turn

    def _on_rollout_start(self) -> None:
        self.calls.append("race")

    def _on_rollout_end(self) -> None:
        self.calls.append("decided")

    def _on_step(self) -> bool:
        self.placements.append(self.model.num_timesteps)
        self.calls.append("step")
        return self._turn is None or self.n_calls < self._turn


def small_cem(seed: int = 1, **arguments) -> CEM:
    return CEM(**{"config": SMALL, "game": LOW, "seed": seed, **arguments})


def resumed(cem: CEM) -> CEM:
    model, files = dump(cem)
    # As it would come from a disk: other objects, text for the model.
    return load(json.loads(json.dumps(model)), {name: bytes(data) for name, data in files.items()})


def linear(weights) -> Network:
    weights = np.asarray(weights, np.float32)
    hidden = np.zeros((0, weights.size), np.float32), np.zeros(0, np.float32)
    return Network(*hidden, weights, np.zeros(1, np.float32))


def mean_lines(cem: CEM, games: int = 20, limit: int = 1000) -> float:
    return GreedyEvaluation(cem.player(), cem.game, games, FRESH_GAMES, limit).run().mean_lines


# Learning.


def test_it_learns_to_clear_lines():
    cem = CEM(seed=1)
    before = mean_lines(cem)
    cem.learn(300_000)
    assert before < 5
    assert mean_lines(cem, games=5) > 500
    # On the low boards, and only of the games that ended.
    assert 10 < cem.metrics.mean_lines < 1000
    assert cem.metrics.best_lines > cem.metrics.mean_lines


@pytest.mark.parametrize(
    ("game", "features"),
    [
        (GameConfig(rule="published", randomizer="uniform"), FeatureSet.DT),
        (GameConfig(6, 12), FeatureSet.BCTS),
        (GameConfig(), FeatureSet.SIMPLE),
    ],
)
def test_it_learns_other_games(game, features):
    cem = CEM(game=game, features=features, seed=3)
    before = mean_lines(cem, limit=200)
    cem.learn(150_000)
    assert mean_lines(cem, limit=200) > 20 + before


def test_without_a_seed_one_is_drawn_and_known():
    a, b = CEM(config=SMALL, game=LOW), CEM(config=SMALL, game=LOW)
    assert a.run_seed != b.run_seed
    again = small_cem(a.run_seed)
    a.learn(2000)
    again.learn(2000)
    assert dump(a) == dump(again)


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(threads):
    config = CemConfig(boards=12, elite=3, games=2, training_height=6)
    alone, together = (small_cem(5, config=config, threads=n) for n in (1, threads))
    for cem in (alone, together):
        cem.learn(30_000)
    assert dump(alone) == dump(together)


def test_slices_change_nothing_of_what_is_learnt():
    at_once, one_step = small_cem(5), small_cem(5)
    one_step.one_step = True
    recorder = StopAt()
    one_step.learn(6000, recorder)
    # One placement of every board that is still in play.
    assert 0 < min(np.diff(recorder.placements)) <= max(np.diff(recorder.placements)) == 12
    at_once.learn(10**9, StopAt(1))
    while at_once.iteration.number < one_step.iteration.number:
        at_once.learn(10**9, StopAt(1), reset_num_timesteps=False)
    assert at_once.iteration.number > 5
    assert np.array_equal(at_once.distribution.average, one_step.distribution.average)
    assert np.array_equal(at_once.iteration.weights, one_step.iteration.weights)


def test_many_boards_take_several_slices_a_step():
    # All are still in play at the limit, also while some have not got there.
    config = CemConfig(boards=1000, elite=10, training_height=8, iteration_limit=3)
    cem = CEM(game=GameConfig(32, 8), features=FeatureSet.SIMPLE, config=config, seed=1)
    recorder = StopAt(5)
    cem.learn(10**9, recorder)
    # 24,000 / 32 placements at most: nothing holds the thread for long.
    assert np.diff(recorder.placements).tolist() == [750, 250, 750, 250, 750]
    other = resumed(cem)
    assert dump(other) == dump(cem)
    assert cem.iteration.horizon == 3
    for learner in (cem, other):
        learner.learn(250, reset_num_timesteps=False)
        assert learner.iteration.number == 1
        learner.learn(5000, reset_num_timesteps=False)
    assert dump(other) == dump(cem)


def test_the_elite_are_those_who_last_longest():
    cem = small_cem(config=CemConfig(boards=12, elite=3, games=2, training_height=6))
    cem.learn(10_000)
    while cem.iteration.horizon:
        cem.learn(1, reset_num_timesteps=False)
    samples, number = cem.iteration.weights.copy(), cem.iteration.number
    # The same games, each played by itself to its end.
    games = new_games(LOW, 12, cem.run_seed, first_episode=2 * number + 1)
    lives = np.zeros(12, np.int64)
    for episode in (1, 2):
        if episode == 2:
            games = new_games(LOW, 12, cem.run_seed, first_episode=2 * number + 2)
        eye = make_eye(cem.features, 10, cem.config.fatal_value)
        for i, weights in enumerate(samples):
            while not games.over[i]:
                place(games, i, look(games, i, linear(weights), eye))
        lives += games.placements
    assert np.sort(lives)[-4] < np.sort(lives)[-3]
    finish = lives.copy()
    finish[np.argsort(lives)[-3:]] = STILL_IN_PLAY
    expected = copy.deepcopy(cem.distribution)
    expected.update(samples, shares(finish, 3), 0.15 / np.sqrt(1 + number / 50))
    while cem.iteration.number == number:
        cem.learn(1, reset_num_timesteps=False)
    assert np.array_equal(cem.distribution.mean, expected.mean)
    assert np.array_equal(cem.distribution.covariance, expected.covariance)


def test_at_the_limit_all_that_are_in_play_are_the_elite():
    config = CemConfig(boards=12, elite=1, iteration_limit=4, training_height=20)
    cem = small_cem(config=config, game=GameConfig())
    # Nobody dies within four placements on a high board: all count alike.
    mean = cem.iteration.weights.astype(np.float64).mean(axis=0)
    cem.learn(12 * 4)
    assert cem.iteration.number == 1
    assert cem.num_timesteps == 12 * 4
    assert np.allclose(cem.distribution.mean, mean / np.linalg.norm(mean))


# The distribution.


def test_shares_are_the_expected_lives_beyond_one():
    finish = np.array([STILL_IN_PLAY, 30, 10, 40, 20])
    # Of five exponential lives the first lasts 1/5 mean lives, the second 1/5 + 1/4, ...
    fourth = 1 / 5 + 1 / 4 + 1 / 3 + 1 / 2
    expected = np.array([fourth + 1 - 1, 0, 0, fourth - 1, 0])
    assert shares(finish, 1) == pytest.approx(expected / expected.sum())
    # Who is out after enough others counts as one of those still in play.
    both = shares(finish, 2)
    assert both[0] == both[3] == pytest.approx(0.5)
    # Exponential lives are what it is for: the expectation is right.
    lives = np.sort(np.random.default_rng(0).exponential(size=(40_000, 5)), axis=1).mean(axis=0)
    assert lives[3] == pytest.approx(fourth, abs=0.02)


@pytest.mark.parametrize("in_play", [0, 1, 5, 19, 20])
def test_shares_add_up_and_ties_in_play_are_equal(in_play):
    finish = np.random.default_rng(in_play).integers(1, 50, 20)
    finish[:in_play] = STILL_IN_PLAY
    found = shares(finish, 3)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert len(set(found[:in_play].tolist())) <= 1
    assert np.count_nonzero(found == found.max()) >= 3


def test_a_distribution_becomes_that_of_its_best_samples():
    distribution = Distribution(2)
    distribution.start_at(np.array([3.0, 0.0]), 0.5)
    assert distribution.mean.tolist() == [1, 0]
    assert distribution.spread == pytest.approx(0.5)
    samples = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    distribution.update(samples, np.array([0.5, 0.5, 0]), noise=0.2)
    root = np.sqrt(0.5)
    assert distribution.mean == pytest.approx([root, root])
    # Each of the two lies half a diagonal from the mean, whose length was 1 / root 2.
    assert distribution.covariance == pytest.approx(
        np.array([[0.5 + 0.02, -0.5], [-0.5, 0.5 + 0.02]])
    )
    assert distribution.average == pytest.approx(distribution.mean)
    distribution.update(samples, np.array([1.0, 0, 0]), noise=0.2)
    assert distribution.mean == pytest.approx([1, 0])
    assert 0 < distribution.average[1] < root / 2
    assert np.linalg.norm(distribution.average) == pytest.approx(1)


def test_samples_follow_the_distribution():
    distribution = Distribution(4)
    distribution.start_at(np.array([0, 0, 2.0, 0]), 0.1)
    samples = distribution.draw(5000, seed=3, iteration=9)
    assert samples.dtype == np.float32
    assert np.linalg.norm(samples, axis=1) == pytest.approx(1)
    assert samples.mean(axis=0) == pytest.approx([0, 0, 1, 0], abs=0.01)
    assert samples.std(axis=0)[:2] == pytest.approx(0.05, rel=0.1)
    assert np.array_equal(samples, distribution.draw(5000, seed=3, iteration=9))
    assert not np.array_equal(samples, distribution.draw(5000, seed=3, iteration=8))


# As an SB3 algorithm.


def test_callbacks_are_called_as_sb3_does():
    cem, recorder = small_cem(), StopAt(400)
    cem.one_step = True
    cem.learn(10**9, recorder)
    assert cem.iteration.number > 3
    assert recorder.calls[:2] == ["race", "step"]
    assert recorder.calls.count("step") == 400
    assert recorder.calls.count("decided") == cem.iteration.number
    for k, call in enumerate(recorder.calls):
        if call == "decided":
            # The policy has changed when the callback has its turn, and the next race is next.
            assert recorder.calls[k + 1 : k + 3] in (["step", "race"], ["step"])


def test_sb3s_own_callbacks_and_loggers_work(tmp_path):
    cem = small_cem()
    cem.set_logger(configure(str(tmp_path / "log"), ["csv"]))
    saving = CheckpointCallback(save_freq=5, save_path=str(tmp_path))
    cem.learn(20_000, saving, log_interval=2)
    assert any(CEM.load(path).num_timesteps for path in tmp_path.glob("rl_model_*.zip"))
    with (tmp_path / "log" / "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == cem.iteration.number // 2
    assert int(rows[-1]["time/total_timesteps"]) <= cem.num_timesteps
    assert float(rows[-1]["rollout/ep_rew_mean"]) > 0
    assert 0 < float(rows[-1]["train/spread"]) < 2
    stop = StopTrainingOnMaxEpisodes(max_episodes=50)
    other = small_cem()
    other.learn(10**9, stop)
    assert 50 <= other.metrics.episodes < 100
    assert len(other.ep_info_buffer) == other.metrics.episodes
    ended = other.metrics.take_episodes()
    assert all(0 <= episode.board < 12 and episode.number >= 1 for episode in ended)


def test_sb3s_evaluation_sees_a_good_player():
    cem = CEM(seed=1)
    cem.learn(200_000)
    env = gymnasium.wrappers.TimeLimit(gymnasium.make(PLACEMENT_ENV), 200)
    reward, _ = evaluate_policy(cem, env, n_eval_episodes=2, warn=False)
    assert reward > 400


def test_save_and_load_keep_the_distribution_and_the_counts():
    cem = small_cem()
    cem.learn(20_000)
    file = io.BytesIO()
    cem.save(file)
    assert len(file.getvalue()) < 100_000
    file.seek(0)
    loaded = CEM.load(file)
    assert loaded.description == cem.description
    assert loaded.num_timesteps == cem.num_timesteps
    for name in ("mean", "covariance", "average", "updates"):
        assert np.array_equal(getattr(loaded.distribution, name), getattr(cem.distribution, name))
    for mine, other in zip(loaded.policy.parameters(), cem.policy.parameters(), strict=True):
        assert mine.equal(other)
    # No running games: its iteration begins anew, on other pieces.
    assert loaded.iteration.number == cem.iteration.number
    assert loaded.iteration.horizon == 0
    assert not np.array_equal(loaded.games.streams, cem.games.streams)
    loaded.learn(1000, reset_num_timesteps=False)
    assert loaded.num_timesteps > cem.num_timesteps


def test_an_environment_decides_the_game():
    env = gymnasium.make(PLACEMENT_ENV, width=6, height=12, feature_set="dt")
    cem = CEM(env=env, seed=0)
    assert (cem.game, cem.features) == (GameConfig(6, 12), FeatureSet.DT)
    assert cem.distribution.mean.size == 9
    assert cem.get_env() is cem.env
    assert CEM(seed=0).get_env() is not None


def test_bad_arguments_are_refused():
    for arguments, named in (
        ({"seed": -1}, "seed"),
        ({"threads": 0}, "threads"),
        ({"device": "cuda"}, "device"),
    ):
        with pytest.raises(ValueError, match=named):
            CEM(**arguments)
    with pytest.raises(HyperparameterError, match="features"):
        CEM(features=FeatureSet.BOARD)
    cem = small_cem()
    cem.set_exploration(None)
    cem.set_learning_rate(None)
    with pytest.raises(HyperparameterError, match="exploration"):
        cem.set_exploration(0.1)
    with pytest.raises(HyperparameterError, match="learning_rate"):
        cem.set_learning_rate(0.1)
    assert cem.exploration is None
    assert cem.current_learning_rate is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"boards": 1}, "boards"),
        ({"boards": 10, "elite": 10}, "elite"),
        ({"elite": 0}, "elite"),
        ({"games": 0}, "games"),
        ({"noise": float("nan")}, "noise"),
        ({"noise": 0}, "noise"),
        ({"noise_halving": 0}, "noise_halving"),
        ({"spread": -1}, "spread"),
        ({"iteration_limit": 0}, "iteration_limit"),
        ({"training_height": 3}, "training_height"),
        ({"training_height": 21}, "training_height"),
        ({"gamma": 0.9}, "gamma"),
    ],
)
def test_nonsense_is_refused_by_name(settings, named):
    with pytest.raises(HyperparameterError) as error:
        CemConfig.for_game(20, "bcts", settings)
    assert [field for field, _ in error.value.violations] == [named]


# Going on.


@pytest.mark.parametrize(
    ("config", "one_step", "turns"),
    [
        (CemConfig(boards=300, elite=30, training_height=6), False, [1, 2, 5, 17, 23]),
        (SMALL, True, [1, 2, 33, 90]),
        (CemConfig(boards=30, elite=4, games=3, training_height=5), False, [1, 4, 11]),
    ],
)
def test_going_on_is_exact_wherever_it_stopped(config, one_step, turns):
    placements = config.boards * 300
    straight = small_cem(11, config=config)
    straight.one_step = one_step
    straight.learn(placements)
    expected = dump(straight)
    amid = set()
    for turn in turns:
        cem = small_cem(11, config=config)
        cem.one_step = one_step
        cem.learn(placements, StopAt(turn))
        amid.add(cem.iteration.horizon > 0)
        other = resumed(cem)
        assert dump(other) == dump(cem)
        for learner in (cem, other):
            learner.one_step = one_step
            learner.learn(placements - learner.num_timesteps, reset_num_timesteps=False)
            assert dump(learner) == expected
    assert True in amid


def test_a_checkpoint_is_small():
    cem = CEM(seed=1, features=FeatureSet.DT)
    cem.learn(20_000)
    _, files = dump(cem)
    assert len(files[POLICY_FILE]) < 1000
    assert len(files[TRAINING_FILE]) < 50_000


@pytest.mark.parametrize("name", ["bcts", "dt10"])
def test_it_goes_on_from_a_reference_player(name):
    reference = PLAYERS[name]
    network = network_of(reference)
    model, files = description_of(reference).to_dict(), {POLICY_FILE: dump_network(network)}
    cem = load(model, files, config=CemConfig(training_height=6), seed=1)
    direction = network.output_weights / np.linalg.norm(network.output_weights)
    assert cem.player().network.output_weights == pytest.approx(direction, rel=1e-6)
    assert mean_lines(cem, games=4, limit=500) == pytest.approx(500, abs=4)
    # All samples are somewhere near.
    assert (cem.iteration.weights @ direction > 0.5).all()
    cem.learn(100_000, reset_num_timesteps=False)
    assert cem.iteration.number > 0
    assert cem.distribution.average @ direction > 0.7
    assert mean_lines(cem, games=4, limit=500) == pytest.approx(500, abs=4)


def test_it_begins_anew_where_the_weights_say_nothing():
    model = description_of(PLAYERS["random"]).to_dict()
    files = {POLICY_FILE: dump_network(network_of(PLAYERS["random"]))}
    cem = load(model, files, config=CemConfig(), seed=1)
    assert dump(cem) == dump(CEM(seed=1))


def test_weights_alone_play_and_go_on():
    cem = CEM(seed=1)
    cem.learn(300_000)
    model, files = dump(cem, weights_only=True)
    assert set(files) == {POLICY_FILE}
    other = load(model, files, placements=cem.num_timesteps, seed=77)
    assert other.num_timesteps == cem.num_timesteps
    assert mean_lines(other, games=5) == mean_lines(cem, games=5)
    other.learn(100_000, reset_num_timesteps=False)
    assert mean_lines(other, games=5) > 500


def test_a_learner_goes_on_with_changed_settings():
    cem = small_cem()
    cem.one_step = True
    cem.learn(20_000, StopAt(400))
    model, files = dump(cem)
    assert cem.iteration.horizon > 0
    change = SMALL.to_dict()
    # The race goes on where only what comes after it changes.
    other = load(model, files, config=CemConfig(**change | {"noise": 0.4}))
    assert dump(other)[1] == files
    # Other boards, another seed: a new race of the same distribution.
    for arguments in (
        {"config": CemConfig(**change | {"boards": 9})},
        {"config": CemConfig(**change | {"games": 2})},
        {"config": CemConfig(**change | {"iteration_limit": 1})},
        {"seed": 5},
    ):
        other = load(model, files, **arguments)
        assert (other.iteration.horizon, other.iteration.number) == (0, cem.iteration.number)
        assert np.array_equal(other.distribution.covariance, cem.distribution.covariance)
        assert other.distribution.updates == cem.distribution.updates
        assert other.num_timesteps == cem.num_timesteps
        other.learn(1000, reset_num_timesteps=False)
    # Another game: the average begins anew with the mean.
    other = load(model, files, game=GameConfig(8, 20, "published"))
    assert np.array_equal(other.distribution.average, cem.distribution.mean)
    assert other.games.columns.shape == (12, 8)
    other.learn(1000, reset_num_timesteps=False)
    # Another algorithm: its network has another shape.
    with pytest.raises(HyperparameterError, match="no hidden layer"):
        load(model, files, config=TdConfig())


# Damage.


@pytest.fixture(scope="module")
def checkpoint():
    cem = small_cem()
    cem.one_step = True
    cem.learn(20_000, StopAt(9))
    return dump(cem)


def damaged(checkpoint, change):
    """The checkpoint with its tensors changed."""
    model, files = copy.deepcopy(checkpoint)
    tensors = {name: tensor.copy() for name, tensor in parse(files[TRAINING_FILE]).items()}
    change(tensors)
    return model, files | {TRAINING_FILE: format_file(tensors)}


OWN = (
    "distribution.mean",
    "distribution.covariance",
    "distribution.average",
    "iteration.weights",
    "iteration.deaths",
    "iteration.made",
    "counters",
    "seed",
)


@pytest.mark.parametrize("name", OWN)
def test_a_damaged_tensor_is_named(checkpoint, name):
    def drop(tensors):
        del tensors[name]

    def reshape(tensors):
        flat = tensors[name].reshape(-1)
        tensors[name] = np.concatenate([flat, flat[:1]])

    def retype(tensors):
        tensors[name] = tensors[name].astype(np.float16)

    def spoil(tensors):
        tensors[name].reshape(-1)[0] = np.nan

    changes = [drop, reshape, retype]
    if np.issubdtype(parse(checkpoint[1][TRAINING_FILE])[name].dtype, np.floating):
        changes.append(spoil)
    for change in changes:
        with pytest.raises(CheckpointError, match=name):
            load(*damaged(checkpoint, change))


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("distribution.mean", 2.0, "mean"),
        ("distribution.average", -1.5, "average"),
        ("distribution.covariance", 0.0, "covariance"),
        ("distribution.covariance", -1.0, "covariance"),
        ("distribution.covariance", 1e300, "covariance"),
        ("iteration.weights", 1.5, "weights"),
        ("iteration.deaths", -1, "deaths"),
        ("iteration.deaths", 2, "deaths"),
        ("iteration.deaths", 1, "games"),
        ("iteration.made", -5, "made"),
        ("iteration.made", 10**12, "made"),
        ("counters", -1, "counters"),
        ("counters", 2**62, "counters"),
        ("games.over", 1, "games"),
        ("games.episode", 99, "games"),
        ("games.pieces", 8, "games"),
        ("games.columns", 2**20, "games"),
        ("metrics.counts", -1, "metrics"),
    ],
)
def test_a_value_out_of_range_is_named(checkpoint, name, value, named):
    def change(tensors):
        tensors[name].reshape(-1)[-1] = value
        tensors[name].reshape(-1)[0] = value

    with pytest.raises(CheckpointError, match=named):
        load(*damaged(checkpoint, change))


def test_an_iteration_that_is_over_is_refused(checkpoint):
    def change(tensors):
        tensors["iteration.deaths"][3:] = 1
        tensors["games.over"][3:] = 1

    with pytest.raises(CheckpointError, match="decided"):
        load(*damaged(checkpoint, change))


def test_a_network_of_another_shape_is_refused(checkpoint):
    model, files = copy.deepcopy(checkpoint)
    network = random_network(8, 4)
    files[POLICY_FILE] = format_file(
        {"output.weight": network.output_weights[None], "output.bias": network.output_bias}
    )
    with pytest.raises(CheckpointError, match=POLICY_FILE):
        load(model, files)
