import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from mltetris_server.hyperparameters import HyperparameterError, TdConfig

PROTO = Path(__file__).parents[2] / "protos" / "mltetris" / "v1" / "run.proto"


@pytest.mark.parametrize("item", fields(TdConfig), ids=lambda item: item.name)
def test_every_range_holds_at_both_ends_and_not_beyond(item):
    low, high = item.metadata["low"], item.metadata["high"]
    # What else is needed for the ends to be possible together with the defaults.
    room = {"boards": 1, "rollout_steps": 1, "window": 1, "batch_size": 1, "hidden_units": 1}
    for end, excluded in (
        (low, item.metadata.get("above", False)),
        (high, item.metadata.get("below", False)),
    ):
        arguments = {**room, item.name: end}
        if excluded:
            with pytest.raises(HyperparameterError, match=item.name):
                TdConfig(**arguments)
        else:
            assert getattr(TdConfig(**arguments), item.name) == end
    for beyond in (low - 1, high + 1):
        with pytest.raises(HyperparameterError) as error:
            TdConfig(**{**room, item.name: beyond})
        assert [name for name, _ in error.value.violations] == [item.name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gamma", math.nan),
        ("learning_rate", math.inf),
        ("gamma", "0.9"),
        ("gamma", True),
        ("boards", 1.5),
        ("boards", True),
        ("boards", None),
    ],
)
def test_what_is_not_a_number_is_refused(name, value):
    with pytest.raises(HyperparameterError, match=name):
        TdConfig(**{name: value})


def test_every_wrong_field_is_named():
    with pytest.raises(HyperparameterError) as error:
        TdConfig(boards=0, gamma=2)
    assert [name for name, _ in error.value.violations] == ["boards", "gamma"]


@pytest.mark.parametrize(
    "values",
    [
        {"boards": 4096, "rollout_steps": 128, "window": 2},
        {"batch_size": 65_536, "hidden_units": 33},
    ],
)
def test_what_is_too_much_together_is_refused(values):
    with pytest.raises(HyperparameterError, match="at most"):
        TdConfig(**values)


def test_a_low_game_gets_low_training_boards():
    assert TdConfig.for_game(20, "bcts").training_height == 10
    assert TdConfig.for_game(8, "bcts").training_height == 8
    assert TdConfig.for_game(20, "bcts", {"training_height": 20}).training_height == 20
    with pytest.raises(HyperparameterError, match="training_height"):
        TdConfig.for_game(8, "bcts", {"training_height": 9})
    with pytest.raises(HyperparameterError, match="no such hyperparameter"):
        TdConfig.for_game(8, "bcts", {"speed": 9})


def test_a_dictionary_gives_the_same_back():
    config = TdConfig(boards=8, gamma=1)
    assert TdConfig.from_dict(config.to_dict()) == config
    assert TdConfig.from_dict({}) == TdConfig()
    with pytest.raises(HyperparameterError, match="speed"):
        TdConfig.from_dict({"speed": 1})


def test_the_contract_tells_the_same_defaults_and_fields():
    message = re.search(r"message TdParams \{(.*?)\n\}", PROTO.read_text(), re.DOTALL)
    assert message is not None
    told = {}
    comment = ""
    for line in message[1].splitlines():
        text = line.strip()
        if text.startswith("//"):
            comment += text.removeprefix("//")
        elif field := re.match(r"optional \w+ (\w+) =", text):
            default = re.search(r"default (-?[\d.,]*\d(?:e-?\d+)?)", comment)
            assert default is not None, field[1]
            told[field[1]] = float(default[1].replace(",", ""))
            comment = ""
    assert told == TdConfig().to_dict()
