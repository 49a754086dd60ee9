"""The compiled inner loops of a warm start: games retraced, and the gradient of cloning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mltetris_server.game.compiling import inlined, kernel, peek
from mltetris_server.game.engine import CANDIDATE, ENDS_GAME, Games, afterstates, place
from mltetris_server.learning.kernels import (
    EXPLORED,
    FATAL,
    GREEDY,
    LAST,
    Eye,
    Network,
    Rollout,
    look,
)
from mltetris_server.learning.lanes import (
    LANES,
    load,
    padded,
    relu,
    splat,
    store,
    total,
    where_positive,
)

# What a placement of a tape is (`Tape.marks`).
FIRST, ENDED, CUT = 1, 2, 4

_ZERO = np.float32(0)
_TOGETHER = 4


class Tape(NamedTuple):
    """N placements, game after game.

    Attributes:
        pieces: uint8[N]: the pieces placed, 1..7.
        next_pieces: uint8[N]: those after them.
        actions: uint8[N]: column * 4 + rotation.
        marks: uint8[N]: FIRST of a game, on an empty board; the game ENDED with it; it was CUT off
            behind it.
    """

    pieces: NDArray[np.uint8]
    next_pieces: NDArray[np.uint8]
    actions: NDArray[np.uint8]
    marks: NDArray[np.uint8]


class Examples(NamedTuple):
    """States, their candidates that do not end the game, and which of them was made.

    Attributes:
        features: float32[R, F]: the candidates' afterstates, state after state.
        starts: int64[n + 1]: each state's first row, and behind the last one.
        made: int64[n]: the row of the placement made, counted from the state's first.
    """

    features: NDArray[np.float32]
    starts: NDArray[np.int64]
    made: NDArray[np.int64]


class Desk(NamedTuple):
    """Room to work out a gradient in, with P = `lanes.padded(H)` and A candidates at most.

    Attributes:
        weights: float32[F + 2, P]: the network input by input: hidden weights, hidden bias, output
            weights; zeros behind the H-th unit.
        sums: float32[F + 2, P]: their slopes.
        hidden: float32[A + 3, P]: hidden units of a state's candidates.
        scores: float64[A + 3]: their scores, then the slopes of these.
        slopes: The network's slopes.
    """

    weights: NDArray[np.float32]
    sums: NDArray[np.float32]
    hidden: NDArray[np.float32]
    scores: NDArray[np.float64]
    slopes: Network


def new_desk(network: Network, actions: int) -> Desk:
    """Room for networks of this shape and states of so many placements."""
    units, inputs = network.hidden_weights.shape
    width = padded(units)
    room = actions + _TOGETHER - 1
    return Desk(
        weights=np.zeros((inputs + 2, width), np.float32),
        sums=np.zeros((inputs + 2, width), np.float32),
        hidden=np.zeros((room, width), np.float32),
        scores=np.zeros(room, np.float64),
        slopes=Network(*(np.zeros_like(part) for part in network)),
    )


@inlined
def _set_up(games: Games, i: int, tape: Tape, k: int) -> None:
    """Give board i the pieces of placement k, and an empty board where a game begins."""
    if tape.marks[k] & FIRST:
        for column in range(games.settings[0]):
            games.columns[i, column] = 0
        games.placements[i] = 0
        games.lines[i] = 0
        games.score[i] = 0
    games.over[i] = 0
    games.pieces[i, 0] = tape.pieces[k]
    games.pieces[i, 1] = tape.next_pieces[k]


@inlined
def _make(games: Games, i: int, tape: Tape, k: int) -> bool:
    """Make placement k on board i; False: it cannot be made, or does not end the game as told."""
    action: int = np.int64(tape.actions[k])  # type: ignore[assignment]
    lines, over = place(games, i, action)
    return lines >= 0 and over == ((tape.marks[k] & ENDED) != 0)


@kernel
def follow(games: Games, i: int, tape: Tape, first: int, last: int) -> int:
    """Make placements first..last-1 on board i, where those before them have been made.

    Returns:
        `last`, or the placement that does not fit.
    """
    for k in range(first, last):
        _set_up(games, i, tape, k)
        if not _make(games, i, tape, k):
            return k
    return last


@kernel
def collect(
    games: Games,
    tape: Tape,
    first: int,
    last: int,
    eye: Eye,
    examples: Examples,
    count: int,
) -> tuple[int, int]:
    """Follow the tape on board 0, and write down its states.

    States whose placement ends the game or is no candidate are left out.

    Args:
        games: One board, on which those before `first` have been made.
        tape: The placements.
        first: The first one.
        last: One behind the last.
        eye: How placements are looked at.
        examples: Filled behind what is there, as long as there is room.
        count: States that are there.

    Returns:
        The placement to go on with, or -1 - k where placement k does not fit, and how many states
        there are now.
    """
    actions = 4 * games.settings[0]
    inputs = examples.features.shape[1]
    for k in range(first, last):
        row = examples.starts[count]
        if row + actions > examples.features.shape[0] or count == examples.made.shape[0]:
            return k, count
        _set_up(games, 0, tape, k)
        afterstates(games, 0, eye.settings[0], eye.scales, eye.features, eye.flags)
        made = np.int64(tape.actions[k])
        if made < actions and (eye.flags[made] & (CANDIDATE | ENDS_GAME)) == CANDIDATE:
            for action in range(actions):
                if (eye.flags[action] & (CANDIDATE | ENDS_GAME)) != CANDIDATE:
                    continue
                if action == made:
                    examples.made[count] = row - examples.starts[count]
                for f in range(inputs):
                    examples.features[row, f] = eye.features[action, f]
                row += 1
            count += 1
            examples.starts[count] = row
        if not _make(games, 0, tape, k):
            return -1 - k, count
    return last, count


@kernel
def replay(
    games: Games,
    network: Network,
    eye: Eye,
    tape: Tape,
    shares: NDArray[np.int64],
    origins: NDArray[np.int64],
    rollout: Rollout,
    highest: NDArray[np.float32],
    start: int,
    stop: int,
) -> int:
    """Placements start..stop-1 of a rollout, counted step by step over all boards, from a tape.

    What is learnt is what the tape's player is worth: `Rollout.values` are those of the placements
    made, and none counts as explored. What cannot be learnt from is marked as fatal, so that its
    target is NaN: the last placement of a game that was cut off, and behind it nothing is trusted
    but its value; and an afterstate that is none of a training board.

    Args:
        games: The boards.
        network: What values placements.
        eye: Scratch.
        tape: The placements.
        shares: int64[n, 3]: each board's first placement, one behind its last, and its next one,
            kept up to date; behind its last comes its first again.
        origins: int64[n, W]: the columns of each board before its first placement.
        rollout: Rows start..stop-1 are filled.
        highest: float32[F]: the greatest features of an afterstate to learn from.
        start: First placement.
        stop: One behind the last.

    Returns:
        -1, or the placement of the tape that does not fit.
    """
    boards = games.columns.shape[0]
    inputs = eye.scales.shape[0]
    for n in range(start, stop):
        i = n % boards
        k: int = shares[i, 2]
        if k == shares[i, 0]:
            for column in range(games.settings[0]):
                games.columns[i, column] = origins[i, column]
        _set_up(games, i, tape, k)
        look(games, i, network, eye)
        action = np.int64(tape.actions[k])
        if action >= eye.flags.shape[0] or not eye.flags[action]:
            return k
        kind = GREEDY
        if eye.flags[action] & ENDS_GAME:
            kind |= FATAL
        for f in range(inputs):
            rollout.features[n, f] = eye.features[action, f]
            if eye.features[action, f] > highest[f]:
                kind |= FATAL
        if kind & FATAL:
            for f in range(inputs):
                rollout.features[n, f] = _ZERO
        value = eye.fatal_value[0] if eye.flags[action] & ENDS_GAME else eye.values[action]
        if not eye.flags[action] & CANDIDATE:
            # The same board as that of a lower action.
            for other in range(action):
                same = (eye.flags[other] & CANDIDATE) != 0
                for f in range(inputs):
                    if eye.features[other, f] != eye.features[action, f]:
                        same = False
                if same:
                    value = eye.values[other]
        rollout.values[n] = value
        if not _make(games, i, tape, k):
            return k
        following = k + 1 if k + 1 < shares[i, 1] else shares[i, 0]
        if tape.marks[k] & ENDED:
            kind |= LAST
        elif tape.marks[k] & CUT or following != k + 1:
            kind |= EXPLORED | FATAL
        rollout.kinds[n] = kind
        shares[i, 2] = following
        # What `returns` looks at behind the last step.
        games.over[i] = 0
        games.pieces[i, 0] = tape.pieces[following]
        if tape.marks[following] & FIRST:
            for column in range(games.settings[0]):
                games.columns[i, column] = 0
        if following != k + 1:
            for column in range(games.settings[0]):
                games.columns[i, column] = origins[i, column]
    return -1


@kernel
def imitate(
    examples: Examples,
    order: NDArray[np.int64],
    network: Network,
    desk: Desk,
    figures: NDArray[np.float64],
) -> None:
    """Gradient of the mean cross entropy of what was made, a state's scores being logits.

    Args:
        examples: The states.
        order: int64[B]: those to learn from.
        network: Where to take the gradient.
        desk: Scratch; its `slopes` are filled with it, that of the output's bias being 0.
        figures: float64[2]: the sum of the losses, and how often the best score is that of what
            was made, are added to it.
    """
    units = network.hidden_weights.shape[0]
    share = 1.0 / order.shape[0]
    _lay_out(network, desk)
    for n in range(order.shape[0]):
        start = examples.starts[order[n]]
        count = examples.starts[order[n] + 1] - start
        made = examples.made[order[n]]
        if units:
            _score(examples.features, start, count, desk)
        else:
            _score_linear(examples.features, start, count, network, desk)
        best = 0
        for a in range(1, count):
            if desk.scores[a] > desk.scores[best]:
                best = a
        highest = desk.scores[best]
        sum_of = 0.0
        for a in range(count):
            sum_of += np.exp(desk.scores[a] - highest)
        figures[0] += np.log(sum_of) + highest - desk.scores[made]
        if best == made:
            figures[1] += 1
        for a in range(count):
            chance = np.exp(desk.scores[a] - highest) / sum_of
            desk.scores[a] = share * (chance - 1.0 if a == made else chance)
        for a in range(count, count + _TOGETHER - 1):
            desk.scores[a] = 0.0
        if units:
            _backward(examples.features, start, count, desk)
        else:
            _backward_linear(examples.features, start, count, desk)
    slopes = desk.slopes
    inputs = network.hidden_weights.shape[1]
    for j in range(units):
        for f in range(inputs):
            slopes.hidden_weights[j, f] = desk.sums[f, j]
        slopes.hidden_bias[j] = desk.sums[inputs, j]
        slopes.output_weights[j] = desk.sums[inputs + 1, j]


@kernel
def _lay_out(network: Network, desk: Desk) -> None:
    """The network on the desk, input by input, and no slopes yet."""
    units, inputs = network.hidden_weights.shape
    for j in range(units):
        for f in range(inputs):
            desk.weights[f, j] = network.hidden_weights[j, f]
        desk.weights[inputs, j] = network.hidden_bias[j]
        desk.weights[inputs + 1, j] = network.output_weights[j]
    for f in range(inputs + 2):
        for j in range(desk.sums.shape[1]):
            desk.sums[f, j] = _ZERO
    if units == 0:
        for f in range(inputs):
            desk.slopes.output_weights[f] = _ZERO


@kernel
def _score(features: NDArray[np.float32], start: int, count: int, desk: Desk) -> None:
    """Hidden units and scores of rows start..start+count-1, four at a time: weights are loaded
    once for all of them."""
    inputs = features.shape[1]
    units = desk.weights.shape[1]
    last = count - 1
    for a in range(0, count, _TOGETHER):
        row_0, row_1 = (start + a) * inputs, (start + min(a + 1, last)) * inputs
        row_2, row_3 = (start + min(a + 2, last)) * inputs, (start + min(a + 3, last)) * inputs
        out_0, out_1, out_2, out_3 = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
        for j in range(0, units, LANES):
            sum_0 = load(desk.weights, inputs * units + j)
            sum_1, sum_2, sum_3 = sum_0, sum_0, sum_0
            for f in range(inputs):
                weights = load(desk.weights, f * units + j)
                sum_0 += splat(peek(features, row_0 + f)) * weights
                sum_1 += splat(peek(features, row_1 + f)) * weights
                sum_2 += splat(peek(features, row_2 + f)) * weights
                sum_3 += splat(peek(features, row_3 + f)) * weights
            sum_0, sum_1, sum_2, sum_3 = relu(sum_0), relu(sum_1), relu(sum_2), relu(sum_3)
            place_0 = a * units + j
            store(desk.hidden, place_0, sum_0)
            store(desk.hidden, place_0 + units, sum_1)
            store(desk.hidden, place_0 + 2 * units, sum_2)
            store(desk.hidden, place_0 + 3 * units, sum_3)
            weights = load(desk.weights, (inputs + 1) * units + j)
            out_0 += sum_0 * weights
            out_1 += sum_1 * weights
            out_2 += sum_2 * weights
            out_3 += sum_3 * weights
        desk.scores[a], desk.scores[a + 1] = total(out_0), total(out_1)
        desk.scores[a + 2], desk.scores[a + 3] = total(out_2), total(out_3)


@kernel
def _backward(features: NDArray[np.float32], start: int, count: int, desk: Desk) -> None:
    """Add the slopes of rows start..start+count-1, those of their scores being in `scores`."""
    inputs = features.shape[1]
    units = desk.weights.shape[1]
    last = count - 1
    for a in range(0, count, _TOGETHER):
        row_0, row_1 = (start + a) * inputs, (start + min(a + 1, last)) * inputs
        row_2, row_3 = (start + min(a + 2, last)) * inputs, (start + min(a + 3, last)) * inputs
        out_0 = splat(np.float32(desk.scores[a]))
        out_1 = splat(np.float32(desk.scores[a + 1]))
        out_2 = splat(np.float32(desk.scores[a + 2]))
        out_3 = splat(np.float32(desk.scores[a + 3]))
        for j in range(0, units, LANES):
            place_0 = a * units + j
            unit_0, unit_1 = load(desk.hidden, place_0), load(desk.hidden, place_0 + units)
            unit_2 = load(desk.hidden, place_0 + 2 * units)
            unit_3 = load(desk.hidden, place_0 + 3 * units)
            at = (inputs + 1) * units + j
            sums = load(desk.sums, at) + out_0 * unit_0 + out_1 * unit_1
            store(desk.sums, at, sums + out_2 * unit_2 + out_3 * unit_3)
            weights = load(desk.weights, at)
            unit_0 = where_positive(unit_0, out_0 * weights)
            unit_1 = where_positive(unit_1, out_1 * weights)
            unit_2 = where_positive(unit_2, out_2 * weights)
            unit_3 = where_positive(unit_3, out_3 * weights)
            at -= units
            store(desk.sums, at, load(desk.sums, at) + unit_0 + unit_1 + unit_2 + unit_3)
            for f in range(inputs):
                at = f * units + j
                sums = load(desk.sums, at)
                sums += splat(peek(features, row_0 + f)) * unit_0
                sums += splat(peek(features, row_1 + f)) * unit_1
                sums += splat(peek(features, row_2 + f)) * unit_2
                sums += splat(peek(features, row_3 + f)) * unit_3
                store(desk.sums, at, sums)


@kernel
def _score_linear(
    features: NDArray[np.float32], start: int, count: int, network: Network, desk: Desk
) -> None:
    """`_score` for a network without hidden units."""
    for a in range(count):
        score = 0.0
        for f in range(features.shape[1]):
            score += np.float64(features[start + a, f]) * np.float64(network.output_weights[f])
        desk.scores[a] = score


@kernel
def _backward_linear(features: NDArray[np.float32], start: int, count: int, desk: Desk) -> None:
    """`_backward` for a network without hidden units."""
    for a in range(count):
        for f in range(features.shape[1]):
            slope = desk.scores[a] * np.float64(features[start + a, f])
            desk.slopes.output_weights[f] += np.float32(slope)
