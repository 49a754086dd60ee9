"""What our Stable-Baselines3 algorithms, which learn on compiled boards, do in SB3's place."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import configure_logger

from mltetris_server.learning.metrics import FinishedEpisode, TrainingMetrics


def begin_learning(
    model: BaseAlgorithm,
    total_timesteps: int,
    callback: MaybeCallback,
    reset_num_timesteps: bool,
    tb_log_name: str,
    progress_bar: bool,
) -> tuple[int, BaseCallback]:
    """SB3's `_setup_learn`, less the environment: the boards go on where they are.

    Returns:
        The placements to learn up to, and the callback.
    """
    model.start_time = time.time_ns()
    if model.ep_info_buffer is None or reset_num_timesteps:
        model.ep_info_buffer = deque(maxlen=model._stats_window_size)
        model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    if reset_num_timesteps:
        model.num_timesteps = 0
        model._episode_num = 0
    else:
        total_timesteps += model.num_timesteps
    model._total_timesteps = total_timesteps
    model._num_timesteps_at_start = model.num_timesteps
    if not model._custom_logger:
        model._logger = (
            configure_logger(model.verbose, model.tensorboard_log, tb_log_name, reset_num_timesteps)
            if model.verbose or model.tensorboard_log
            # SB3's own logger makes a folder in the temporary directory even to say nothing.
            else Logger(folder=None, output_formats=[])
        )
    return total_timesteps, model._init_callback(callback, progress_bar)


def nothing_played(callback: BaseCallback) -> None:
    """Tell a callback that no placement is made at its next turns: those of an update. Else who
    counts what ended at every turn would count the last stretch's games again."""
    callback.update_locals({"dones": np.zeros(0, np.bool_), "infos": []})


def count_episodes(
    model: BaseAlgorithm, metrics: TrainingMetrics, ended: Iterable[FinishedEpisode]
) -> list[dict[str, Any]]:
    """Make games that ended known to the metrics and to SB3's own figures.

    Args:
        model: Whose games they were.
        metrics: Its metrics.
        ended: The games.

    Returns:
        An `info` for each, as SB3's callbacks look for them.
    """
    seconds = (time.time_ns() - model.start_time) / 1e9
    infos = []
    for episode in ended:
        metrics.add_episode(episode)
        told = {"r": episode.score, "l": episode.placements, "t": seconds, "lines": episode.lines}
        infos.append({"episode": told})
    model._episode_num += len(infos)
    model._update_info_buffer(infos)
    return infos
