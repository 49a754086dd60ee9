"""Games and feature sets as plain values."""

from __future__ import annotations

import numpy as np
import pytest
from mltetris_server.game.config import (
    FeatureSet,
    GameConfig,
    Randomizer,
    Rule,
    feature_limits,
    feature_names,
    feature_scales,
    n_features,
    observation_features,
    raw_scales,
)


def test_defaults_and_plain_names() -> None:
    assert GameConfig() == GameConfig(10, 20, Rule.GYMNASIUM, Randomizer.BAG7)
    config = GameConfig(6, 8, "published", "uniform")  # type: ignore[arg-type]
    assert config.rule is Rule.PUBLISHED
    assert config.randomizer is Randomizer.UNIFORM
    assert config.actions == 24


@pytest.mark.parametrize(
    "arguments",
    [(3, 20), (33, 20), (10, 3), (10, 41), (10, 20, "guideline"), (10, 20, "published", "bag14")],
)
def test_what_no_game_can_be(arguments: tuple[object, ...]) -> None:
    with pytest.raises(ValueError):
        GameConfig(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("feature_set", list(FeatureSet))
@pytest.mark.parametrize("width", [4, 10, 32])
def test_every_feature_has_a_name_and_a_scale(feature_set: FeatureSet, width: int) -> None:
    names = feature_names(feature_set, width)
    assert len(set(names)) == len(names) == n_features(feature_set, width)
    number = {"simple": width + 3, "bcts": 8, "dt": 9, "board": 2 * width}[feature_set]
    assert len(names) == number
    shown = 17 * width if feature_set is FeatureSet.BOARD else number
    assert observation_features(feature_set, GameConfig(width, 17)) == shown
    for scales in (feature_scales(feature_set, width), raw_scales(feature_set, width)):
        assert scales.dtype == np.float32
        assert scales.shape == (len(names),)
        assert (scales > 0).all()
    assert feature_limits(feature_set, GameConfig(width, 40)).shape == (len(names),)


def test_scales_do_not_depend_on_the_board() -> None:
    narrow = feature_scales(FeatureSet.SIMPLE, 4)
    wide = feature_scales(FeatureSet.SIMPLE, 10)
    np.testing.assert_array_equal(narrow[-4:], wide[-4:])


def test_codes_are_fixed_for_they_are_compiled() -> None:
    codes = {feature_set.value: feature_set.code for feature_set in FeatureSet}
    assert codes == {"simple": 0, "bcts": 1, "dt": 2, "board": 3}


def test_the_scales_of_bits_are_ones() -> None:
    assert (feature_scales(FeatureSet.BOARD, 10) == 1).all()
