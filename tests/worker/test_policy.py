"""The process that suggests placements: the same as the players, and no longer than its server."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from mltetris_api.v1.board_pb2 import Piece
from mltetris_api.v1.policy_pb2 import Position, SuggestPlacementsResponse
from mltetris_api.v1.run_pb2 import RULE_PUBLISHED, Rule
from mltetris_api.worker.v1.policy_pb2 import (
    PolicyCommand,
    PolicyEvent,
    PolicyModel,
    PolicyQuestion,
)
from mltetris_server.game.config import FeatureSet, GameConfig
from mltetris_server.game.config import Rule as RuleWord
from mltetris_server.game.display import ShownGame
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME
from mltetris_server.learning import reference
from mltetris_server.learning.model import POLICY_FILE
from mltetris_server.learning.player import Player
from mltetris_server.worker.policy import LENGTH
from mltetris_server.worker.policy_advisor import Advisor
from support.policies import a_model, a_position

PATIENCE_S = 60.0


def game_at(position: Position) -> ShownGame:
    """The engine's own game on that board."""
    rule = RuleWord.PUBLISHED if position.rule == RULE_PUBLISHED else RuleWord.GYMNASIUM
    config = GameConfig(position.width, position.height, rule)
    game = ShownGame(config, seed=0)
    cells = np.frombuffer(position.cells, np.uint8).reshape(config.height, config.width)
    game._cells[...] = cells
    for column in range(config.width):
        bits = [1 << (config.height - 1 - row) for row in np.flatnonzero(cells[:, column])]
        game.games.columns[0, column] = sum(bits)
    game.games.pieces[0, 0] = position.piece
    return game


def reference_model(name: str) -> tuple[dict, dict[str, bytes]]:
    folder = reference.FOLDER / name
    model = json.loads((folder / "manifest.json").read_bytes())["model"]
    return model, {POLICY_FILE: (folder / POLICY_FILE).read_bytes()}


def check(player: Player, advisor: Advisor, position: Position) -> None:
    """The advisor says what the player does and what the engine then makes of it."""
    suggestion = advisor.suggest(position)
    game = game_at(position)
    values = player.values(game)
    _, flags = game.afterstates(player.features)
    assert [p.action for p in suggestion.placements] == np.flatnonzero(flags & CANDIDATE).tolist()
    if not player.exploration:
        assert suggestion.best.action == player.choose(game)
    assert suggestion.best in suggestion.placements
    assert suggestion.game_over == all(p.ends_game for p in suggestion.placements)
    for placement in suggestion.placements:
        action = placement.action
        assert (placement.column, placement.rotation) == (action // 4, action % 4)
        assert placement.value == values[action]
        assert placement.ends_game == bool(flags[action] & ENDS_GAME)
        assert tuple(placement.cells) == game.landing_cells(action)
        after = game_at(position)
        assert placement.lines_cleared == after.place(action)
        if placement.ends_game:
            assert after.game_over


@pytest.mark.parametrize("features", [FeatureSet.BCTS, FeatureSet.DT, FeatureSet.BOARD])
def test_a_model_suggests_on_any_board_what_its_player_does(features: FeatureSet) -> None:
    model = a_model(1, features)
    player, advisor = Player.from_checkpoint(*model), Advisor.from_checkpoint(*model)
    random = np.random.default_rng(7)
    for _ in range(120):
        check(player, advisor, a_position(random))


def test_a_model_that_sees_columns_suggests_on_its_width() -> None:
    model = a_model(2, FeatureSet.SIMPLE, GameConfig(7))
    player, advisor = Player.from_checkpoint(*model), Advisor.from_checkpoint(*model)
    random = np.random.default_rng(8)
    for _ in range(60):
        check(player, advisor, a_position(random, width=7))


@pytest.mark.parametrize("name", ["bcts", "dt10", "dellacherie", "random"])
def test_reference_players_suggest_what_they_do(name: str) -> None:
    model = reference_model(name)
    player, advisor = Player.from_checkpoint(*model), Advisor.from_checkpoint(*model)
    random = np.random.default_rng(9)
    for _ in range(40):
        check(player, advisor, a_position(random))


def test_who_plays_at_random_does_the_same_on_the_same_board_and_not_the_same_on_all() -> None:
    advisor = Advisor.from_checkpoint(*reference_model("random"))
    random = np.random.default_rng(10)
    positions = [
        a_position(random, width=10, height=20, rule=Rule.RULE_PUBLISHED) for _ in range(60)
    ]
    first = [advisor.suggest(position).best.action for position in positions]
    again = [advisor.suggest(position).best.action for position in positions]
    assert first == again
    firsts = [advisor.suggest(position).placements[0].action for position in positions]
    assert len(set(first)) > 10 and first != firsts


@pytest.mark.parametrize("rule", [RuleWord.GYMNASIUM, RuleWord.PUBLISHED])
@pytest.mark.parametrize("model", [a_model(3), reference_model("bcts")], ids=["poor", "bcts"])
def test_a_whole_game_by_suggestions_is_the_players_own(rule: RuleWord, model: tuple) -> None:
    player, advisor = Player.from_checkpoint(*model), Advisor.from_checkpoint(*model)
    config = GameConfig(10, 20, rule)
    mine, theirs = ShownGame(config, seed=5), ShownGame(config, seed=5)
    for _ in range(300):
        if theirs.game_over:
            break
        position = Position(
            cells=mine.cells.tobytes(),
            piece=Piece.ValueType(mine.piece),
            rule=RULE_PUBLISHED if rule is RuleWord.PUBLISHED else 0,
        )
        mine.place(advisor.suggest(position).best.action)
        theirs.place(player.choose(theirs))
        assert mine.cells.tobytes() == theirs.cells.tobytes()
    assert mine.game_over == theirs.game_over


# -- The process ---------------------------------------------------------------------------------


class Process:
    """The real one, as a server talks with it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mltetris_server.worker.policy"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._number = 0

    def say(self, **command) -> None:
        self._number += 1
        data = PolicyCommand(number=self._number, **command).SerializeToString()
        self.process.stdin.write(LENGTH.pack(len(data)) + data)
        self.process.stdin.flush()

    def hear(self) -> PolicyEvent:
        (length,) = LENGTH.unpack(self.process.stdout.read(LENGTH.size))
        return PolicyEvent.FromString(self.process.stdout.read(length))

    def end(self) -> int:
        self.process.stdin.close()
        code = self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        self.process.stderr.close()
        return code


def message(sha256: str, model: tuple[dict, dict[str, bytes]]) -> PolicyModel:
    return PolicyModel(sha256=sha256, model_json=json.dumps(model[0]), files=model[1])


def test_commands_are_done_in_their_order_each_by_the_model_it_names() -> None:
    process = Process()
    models = {name: a_model(seed) for seed, name in enumerate(("aa", "bb"))}
    position = Position(piece=Piece.PIECE_T)
    wanted = {
        name: Advisor.from_checkpoint(*model).suggest(position) for name, model in models.items()
    }
    for name, model in models.items():
        process.say(load=message(name, model))
    for name in ("bb", "aa", "bb"):
        process.say(suggest=PolicyQuestion(sha256=name, positions=[position]))
    process.say(forget="aa")
    process.say(suggest=PolicyQuestion(sha256="aa", positions=[position]))
    model, files = models["aa"]
    process.say(load=message("cc", (model, {POLICY_FILE: files[POLICY_FILE][:-4]})))
    events = [process.hear() for _ in range(9)]
    assert [event.number for event in events] == list(range(9))
    assert all(event.HasField("done") for event in (*events[:3], events[6]))
    for event, name in zip(events[3:6], ("bb", "aa", "bb"), strict=True):
        answer = SuggestPlacementsResponse.FromString(event.suggestions)
        assert list(answer.suggestions) == [wanted[name]]
    assert events[7].damaged == "it is not kept"
    assert events[8].damaged.startswith("policy.safetensors")
    assert process.end() == 0


def test_it_ends_with_its_input_also_while_it_loads() -> None:
    process = Process()
    time.sleep(0.2)
    begin = time.monotonic()
    assert process.end() == 0
    assert time.monotonic() - begin < PATIENCE_S


def test_it_needs_no_torch() -> None:
    code = (
        "import sys, mltetris_server.worker.policy as p; p.warm_up(); "
        "print([m for m in ('torch', 'gymnasium', 'stable_baselines3') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
