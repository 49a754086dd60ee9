import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
from mltetris_server.hyperparameters import TRAINABLE, HyperparameterError, TdConfig

PROTO = Path(__file__).parents[2] / "protos" / "mltetris" / "v1" / "run.proto"


# What is needed for the ends of the other fields' ranges to be possible.
ROOM = {
    "td": {"boards": 1, "rollout_steps": 1, "window": 1, "batch_size": 1, "hidden_units": 1},
    "dqn": {"boards": 1, "rollout_steps": 1, "batch_size": 1, "hidden_units": 1},
    "ppo": {"boards": 1, "rollout_steps": 1, "batch_size": 2, "hidden_units": 1},
    "cem": {"elite": 1},
}
ITEMS = [(name, item) for name, config in TRAINABLE.items() for item in fields(config)]


@pytest.mark.parametrize(("name", "item"), ITEMS, ids=lambda part: getattr(part, "name", part))
def test_a_value_beyond_its_range_is_refused_by_name(name, item):
    low, high = item.metadata["low"], item.metadata["high"]
    for beyond in (low - 1, high + 1):
        with pytest.raises(HyperparameterError) as error:
            TRAINABLE[name](**{**ROOM[name], item.name: beyond})
        assert [field for field, _ in error.value.violations] == [item.name]


@pytest.mark.parametrize(("name", "item"), ITEMS, ids=lambda part: getattr(part, "name", part))
def test_both_ends_of_every_range_are_possible_or_excluded(name, item):
    for end, excluded in (
        (item.metadata["low"], item.metadata.get("above", False)),
        (item.metadata["high"], item.metadata.get("below", False)),
    ):
        values = {**ROOM[name], item.name: end}
        if excluded:
            with pytest.raises(HyperparameterError, match=item.name):
                TRAINABLE[name](**values)
            continue
        try:
            made = TRAINABLE[name](**values)
        except HyperparameterError as error:
            # Possible by itself; what does not go with it is said of another field or of both.
            assert any(word in str(error) for word in (" x ", "at least", "at most", "below"))
        else:
            assert getattr(made, item.name) == end


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


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_contract_tells_the_same_fields_defaults_and_ranges(name):
    told = contract(f"{name.capitalize()}Params")
    config = TRAINABLE[name]
    assert {field: default for field, (default, _) in told.items()} == config().to_dict()
    for item in fields(config):
        ends = (item.metadata["low"], item.metadata["high"])
        assert told[item.name][1] == pytest.approx(ends), item.name


def contract(message: str) -> dict[str, tuple[float, tuple[float, float]]]:
    """Default and range of every field of a message, from the comments and the rules."""
    text = re.search(rf"message {message} \{{(.*?)\n\}}", PROTO.read_text(), re.DOTALL)
    assert text is not None
    told = {}
    pattern = r"((?:  //[^\n]*\n)+)  optional \w+ (\w+) = [^;]*?;"
    for comment, name, rule in re.findall(pattern.replace("[^;]*?;", "([^;]*?);"), text[1]):
        words = comment.replace("//", " ")
        default = re.search(r"default\s+(-?[\d.,]*\d(?:e-?\d+)?)", words)
        assert default is not None, name
        bounds = dict(re.findall(r"(gte?|lte?)(?:: | = )(-?[\d.e+-]+)", rule))
        low = bounds.get("gte", bounds.get("gt", "0"))
        high = bounds.get("lte") or bounds.get("lt")
        assert high is not None, name
        told[name] = float(default[1].replace(",", "")), (float(low), float(high))
    return told
