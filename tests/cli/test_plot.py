"""Learning curves: what is drawn is what the stream said, and the picture can be looked at."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mltetris_client
import pytest
from matplotlib.figure import Figure
from mltetris_api.v1 import run_pb2
from mltetris_cli.exits import CliError
from mltetris_cli.plotting import drawing
from mltetris_cli.plotting.axes import number, spans_decades
from mltetris_cli.plotting.choices import MetricName
from mltetris_cli.plotting.curves import METRICS, Curve, Mark, curve_of
from mltetris_cli.plotting.families import (
    MOST_POINTS,
    SMOOTHED_FROM,
    Family,
    family_of,
    median_of,
    smoothed,
)
from mltetris_cli.plotting.gathering import families_of
from mltetris_cli.plotting.legend import columns_for
from mltetris_cli.plotting.naming import grouped, in_common, labels
from mltetris_client import MetricPoint, Run, Trainer
from PIL import Image
from support.cli import Cli, Result
from support.server import ServerProcess
from support.small import eventually, in_state, small_service


def refused(result: Result, code: int, *words: str) -> None:
    """It ended with the code and said one line with the words; no picture was made."""
    assert result.code == code, result
    assert result.out == "", result
    assert result.err.startswith("error: ") and result.err.count("\n") == 1, result
    for word in words:
        assert word in result.err, result


def point(placements: int, elapsed: float = 0.0, **fields: Any) -> MetricPoint:
    made = MetricPoint(placements=placements, **fields)
    made.elapsed.FromMicroseconds(round(elapsed * 1e6))
    return made


def evaluated(placements: int, mean: float, error: float = 0.0, cut_off: int = 0) -> MetricPoint:
    """A point that tells of an evaluation, 100 placements after it was taken."""
    made = point(placements + 100, placements / 1000)
    evaluation = made.evaluation
    evaluation.games, evaluation.placements, evaluation.mean_lines = 20, placements, mean
    evaluation.standard_error, evaluation.cut_off_games = error, cut_off
    return made


def straight(*xys: tuple[float, float], bounds: tuple[bool, ...] = ()) -> Curve:
    xs, ys = zip(*xys, strict=True)
    return Curve(xs, ys, ys, ys, bounds or (False,) * len(xs))


def drawn(families: list[Family], **how: Any) -> Figure:
    with drawing.style():
        return drawing.draw(families, drawing.Look(**how))


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


# -- From points to curves -----------------------------------------------------------------------


def test_evaluations_become_a_curve_with_its_standard_error() -> None:
    points = [
        point(0, 0.0, mean_reward=-9.0),
        evaluated(1000, 3.0, 4.0),
        point(1500, 1.5, loss=0.5),
        evaluated(2000, 700.0, 50.0, cut_off=2),
    ]
    curve = curve_of(points, "lines", "placements")
    assert curve.xs == (1000, 2000)  # when they were taken, not when they were told
    assert curve.ys == (3, 700)
    assert curve.lows == (0, 650) and curve.highs == (7, 750)  # there is nothing below no lines
    assert curve.bounds == (False, True)
    assert curve_of(points, "lines", "seconds").xs == (1, 2)


@pytest.mark.parametrize("metric", [name for name in METRICS if name != "lines"])
def test_other_metrics_are_drawn_as_they_are(metric: MetricName) -> None:
    field = METRICS[metric].field
    points = [point(10, 1.0), point(20, 2.0, **{field: -0.5}), point(30, 3.0, **{field: 0.25})]
    points.append(point(40, 4.0, **{field: math.nan}))
    curve = curve_of(points, metric, "placements")
    assert curve.xs == (20, 30)
    assert curve.ys == curve.lows == curve.highs == (-0.5, 0.25)
    assert not any(curve.bounds)
    assert curve_of(points, metric, "seconds").xs == (2, 3)


def test_what_was_steered_is_marked_and_what_was_only_watched_is_not() -> None:
    points = [
        point(10, 1.0, changes=["learning_rate 0.003 -> 0.001", "view showcase -> training"]),
        point(20, 2.0, changes=["paused"]),
        point(20, 2.0, changes=["resumed", "placements_per_second 8 -> 16"]),
        point(30, 3.0, changes=["max_training_rate 200 -> full speed"]),
    ]
    marks = curve_of(points, "reward", "placements").marks
    assert marks == (
        Mark(10, "learning rate 0.003 → 0.001"),
        Mark(30, "max training rate 200 → full speed"),
    )
    assert [mark.x for mark in curve_of(points, "lines", "seconds").marks] == [1, 3]


# -- Several runs as one -------------------------------------------------------------------------


def test_a_median_and_range_where_all_runs_are() -> None:
    middle = median_of(
        [
            straight((0, 0.0), (10, 10.0)),
            straight((2, 5.0), (12, 5.0)),
            straight((0, 20.0), (4, 20.0), (8, 0.0)),
        ]
    )
    # From the last to begin to the first to end, wherever one of them has a point.
    assert middle.xs == (2, 4, 8)
    assert middle.ys == (5, 5, 5)
    assert middle.lows == (2, 4, 0)
    assert middle.highs == (20, 20, 8)


def test_a_median_is_a_lower_bound_where_it_could_be_higher() -> None:
    low = straight((0, 1.0), (1, 1.0), bounds=(True, False))
    high = straight((0, 9.0), (1, 9.0), bounds=(False, True))
    assert median_of([low, straight((0, 5.0), (1, 5.0)), high]).bounds == (True, False)
    assert median_of([low, high]).bounds == (True, True)  # the mean of both
    # Between two points, one of which is a lower bound, nobody knows.
    rising = straight((0, 1.0), (2, 3.0), bounds=(False, True))
    assert median_of([rising, straight((0, 9.0), (1, 9.0), (2, 9.0))]).bounds[1]


def test_between_its_points_a_curve_is_as_straight_as_it_is_drawn() -> None:
    tens = straight((10, 1.0), (1000, 100.0))
    middle = straight((10, 1.0), (100, 1.0), (1000, 1.0))

    def top(**how: bool) -> float:
        return median_of([tens, middle], **how).highs[1]

    assert top() == pytest.approx(10.0)
    assert top(log_x=True) == pytest.approx(50.5)
    assert top(log_x=True, log_y=True) == pytest.approx(10.0)
    assert top(log_y=True) == pytest.approx(100 ** (90 / 990))
    from_nothing = straight((0, 0.0), (2, 99.0))
    flat = straight((0, 0.0), (1, 0.0), (2, 0.0))
    assert median_of([from_nothing, flat], log_y=True).highs[1] == pytest.approx(9.0)


def test_runs_that_were_never_at_the_same_x_have_no_median() -> None:
    apart = [straight((0, 1.0), (1, 1.0)), straight((2, 1.0), (3, 1.0))]
    assert len(median_of(apart)) == 0
    runs = [run_of(1, "same"), run_of(2, "same")]
    assert len(families_of(runs, apart, "run")) == 2
    with pytest.raises(CliError, match="2 runs of same"):
        families_of(runs, apart, "name")


def test_many_points_are_drawn_as_means_over_a_thin_line_of_all() -> None:
    count = SMOOTHED_FROM
    few = straight(*((float(x), 1.0) for x in range(count)))
    assert family_of("few", few) == Family("few", few)
    many = straight(*((float(x), float(x % 2)) for x in range(10 * count)))
    family = family_of("many", many)
    assert family.members == (many,)
    assert len(family.curve) == 100 and set(family.curve.ys) == {0.5}
    assert said(drawn([family]))[1:] == ["means; thin: all points"]


def test_means_are_those_of_neighbours_and_no_surer_than_they() -> None:
    curve = Curve(
        xs=(0, 1, 2, 3, 4),
        ys=(9, 1, 3, 5, 7),
        lows=(8, 0, 2, 3, 6),
        highs=(10, 2, 4, 7, 8),
        bounds=(False, False, False, True, False),
        marks=(Mark(1, "x"),),
    )
    assert smoothed(curve, 2) == Curve(
        xs=(0, 1.5, 3.5),
        ys=(9, 2, 6),
        lows=(8, 1, 4.5),
        highs=(10, 3, 7.5),
        bounds=(False, False, True),
        marks=curve.marks,
    )


def test_a_median_has_no_more_points_than_can_be_seen() -> None:
    many = straight(*((float(x), float(x)) for x in range(5 * MOST_POINTS + 1)))
    middle = median_of([many, many])
    assert len(middle) <= MOST_POINTS
    assert middle.ys == middle.xs and middle.xs[-1] == 5 * MOST_POINTS


# -- Names ---------------------------------------------------------------------------------------


def run_of(number: int, name: str = "", algorithm: int = 1, **game: int) -> Run:
    made = Run(id=f"train-{number}", display_name=name, kind=run_pb2.RUN_KIND_TRAINING)
    made.training.algorithm = algorithm  # type: ignore[assignment]
    made.training.game.MergeFrom(run_pb2.GameSpec(width=10, height=20))
    made.training.game.MergeFrom(run_pb2.GameSpec(**game))  # type: ignore[arg-type]
    return made


def test_labels_tell_runs_apart_and_say_no_more() -> None:
    assert labels([run_of(1)]) == ["train-1"]
    assert labels([run_of(1, "fast")]) == ["fast"]
    assert labels([run_of(1, "fast"), run_of(2, "slow")]) == ["fast", "slow"]
    assert labels([run_of(1), run_of(2)]) == ["train-1", "train-2"]
    assert labels([run_of(1, "same"), run_of(2, "same")]) == ["train-1", "train-2"]
    assert labels([run_of(1), run_of(2, algorithm=2)])[0] == "td"
    assert labels([run_of(1, "a"), run_of(2, "a"), run_of(3, "b")]) == [
        "a · train-1",
        "a · train-2",
        "b · train-3",
    ]
    assert labels([run_of(1, "a"), run_of(2)]) == ["a · train-1", "train-2"]


def test_what_runs_have_in_common_is_told_once() -> None:
    assert in_common([run_of(1, "x"), run_of(2, "x")]) == "x · td · 10x20"
    assert in_common([run_of(1, "x"), run_of(2, "y", width=8)]) == "td"


def test_groups() -> None:
    runs = [run_of(1, "a"), run_of(2, "b"), run_of(3, "a"), run_of(4)]
    assert grouped(runs, "name") == {"a": [0, 2], "b": [1], "train-4": [3]}
    assert grouped(runs, "algorithm") == {"td": [0, 1, 2, 3]}
    assert list(grouped(runs, "run").values()) == [[0], [1], [2], [3]]


# -- The picture ---------------------------------------------------------------------------------


def test_the_lines_drawn_are_the_curve() -> None:
    curve = curve_of(
        [evaluated(1000, 0.0), evaluated(2000, 50.0, 5.0), evaluated(3000, 2000.0, 9.0, 3)],
        "lines",
        "placements",
    )
    figure = drawn([Family("mine", curve)], subtitle="td", log=True)
    (axes,) = figure.axes
    line, triangles = axes.lines
    assert tuple(line.get_xdata()) == curve.xs and tuple(line.get_ydata()) == curve.ys  # type: ignore[arg-type]
    assert line.get_marker() == "o" and line.get_markevery() == [0, 1]
    assert triangles.get_marker() == "^" and tuple(triangles.get_xdata()) == (3000,)  # type: ignore[arg-type]
    assert said(figure) == ["mine", "± 1 standard error", "at least: games were cut off"]
    assert axes.get_xlabel() == "placements learnt from"
    assert axes.get_yscale() == "symlog"  # there is a 0


def test_lines_go_on_a_logarithmic_axis_when_they_span_more_than_two_decades() -> None:
    assert not spans_decades([straight((0, 0.0), (1, 99.0))], "lines")
    assert not spans_decades([straight((0, 20.0), (1, 1999.0))], "lines")
    assert spans_decades([straight((0, 0.0), (1, 50.0)), straight((0, 101.0))], "lines")
    assert not spans_decades([straight((0, 1.0), (1, 1e6))], "loss")
    wide = Family("wide", straight((0, 2.0), (1, 1e5)))
    assert drawn([wide], log=True).axes[0].get_yscale() == "log"
    assert drawn([wide]).axes[0].get_yscale() == "linear"
    below = Family("reward", straight((0, -10.0), (1, -2.0)))
    assert drawn([below], metric="reward", log=True).axes[0].get_yscale() == "symlog"
    assert drawn([wide], log_x=True).axes[0].get_xscale() == "log"


def test_nothing_lies_outside_the_axes() -> None:
    curve = Curve((5.0, 2e6), (0.0, 3e4), (0.0, 2e4), (1.0, 4e4), (False, True))
    for how in ({}, {"log": True}, {"log_x": True}, {"metric": "reward"}):
        (axes,) = drawn([Family("a", curve)], **how).axes
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left <= 5 and right >= 2e6 and bottom == 0 and top >= 4e4, how


def test_a_run_that_goes_on_from_another_is_not_squeezed_to_the_right() -> None:
    (axes,) = drawn([Family("a", straight((3e6, 1.0), (3.1e6, 2.0)))]).axes
    assert axes.get_xlim()[0] > 2.9e6
    (axes,) = drawn([Family("a", straight((1e5, 1.0), (3.1e6, 2.0)))]).axes
    assert axes.get_xlim()[0] == 0


def test_triangles_and_legends_take_no_more_room_than_there_is() -> None:
    assert drawing.spaced([0.0, 0.1, 0.15, 0.29, 0.5], 0.1) == [0, 2, 3, 4]
    assert drawing.spaced([], 0.1) == []
    assert columns_for(["a", "b", "c"], 8.0) == 3
    assert columns_for(["a" * 30, "b" * 30, "c" * 30], 6.5) == 2
    assert columns_for(["a" * 300, "b"], 8.0) == 1


def test_numbers_at_an_axis() -> None:
    values = (0, 0.0, 0.003, 1, 2.5, 250, 1500, 200_000, 1.2e6, -10)
    told = "0 0 0.003 1 2.5 250 1.5k 200k 1.2M -10"
    assert " ".join(map(number, values)) == told


def test_a_short_logarithmic_axis_has_numbers_between_powers_of_ten() -> None:
    def told(top: float) -> set[str]:
        figure = drawn([Family("a", straight((0, 3e-4), (1, top)))], metric="loss", log=True)
        figure.draw_without_rendering()
        return {tick.label1.get_text() for tick in figure.axes[0].yaxis.get_minor_ticks()}

    assert {"0.0005", "0.002"} <= told(3e-3) and "0.003" not in told(3e-3)
    assert told(3.0) == {""}


def test_seconds_are_told_in_a_fitting_unit() -> None:
    for last, unit, end in ((100.0, "s", 100), (1800.0, "min", 30), (36_000.0, "h", 10)):
        figure = drawn([Family("a", straight((0.0, 1.0), (last, 2.0)))], over="seconds")
        assert figure.axes[0].get_xlabel() == f"time spent running, {unit}"
        assert figure.axes[0].lines[0].get_xdata()[-1] == end  # type: ignore[index]


def test_only_a_run_alone_shows_what_was_steered() -> None:
    mark = Mark(0.5, "exploration 0.1 → 0")
    steered = Curve((0.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 2.0), (False, False), (mark,))
    alone = drawn([Family("a", steered)])
    assert "steered" in said(alone)
    assert mark.text in [text.get_text() for text in alone.axes[0].texts]
    both = drawn([Family("a", steered), Family("b", steered)])
    assert said(both) == ["a", "b"]


def test_every_curve_looks_its_own_way(tmp_path: Path) -> None:
    families = [Family(f"run {i}", straight((0.0, 1.0), (1.0, 2.0 + i))) for i in range(28)]
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn(families).axes[0].lines}
    assert len(looks) == 28
    drawing.write(families, drawing.Look(), tmp_path / "many.png")


def test_odd_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    curve = straight((0.0, 1.0), (1.0, 2.0))
    families = [Family(name, curve) for name in (r"$\frac$", "_hidden", "日本", "%d")]
    look = drawing.Look(title="$x_$", subtitle="$^$")
    assert said(drawn(families)) == [family.label for family in families]
    for kind in ("png", "svg", "pdf"):
        drawing.write(families, look, tmp_path / f"odd.{kind}")
        once = (tmp_path / f"odd.{kind}").read_bytes()
        drawing.write(families, look, tmp_path / f"odd.{kind}")
        assert (tmp_path / f"odd.{kind}").read_bytes() == once


def test_one_point_is_enough(tmp_path: Path) -> None:
    for y in (0.0, 1e7, -1.0):
        for log in (True, False):
            look = drawing.Look("reward", "seconds", log, log_x=True)
            drawing.write([Family("a", straight((0.0, y)))], look, tmp_path / "one.png")


# -- The command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(shared: ServerProcess) -> Iterator[tuple[Run, Run]]:
    """Two trainings that have ended, the first named."""
    with mltetris_client.connect(shared.address) as trainer:
        runs = [trainer.start_training(display_name=name) for name in ("first", "")]
        for run in runs:
            eventually(lambda run=run: trainer.get_run(run.id).metrics.sequence > 12, "points")
            trainer.stop_run(run.id)
        yield runs[0], runs[1]


def test_a_picture_of_two_runs(cli: Cli, two: tuple[Run, Run]) -> None:
    first, second = two
    result = cli.good("plot", first.id, second.id, first.id, "--size", "6x3", "-o", "json")
    assert result.json == {"file": "curves.png", "runs": [first.id, second.id]}
    with Image.open(cli.folder / "curves.png") as picture:
        picture.load()
        assert picture.size == (6 * drawing.DPI, 3 * drawing.DPI)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(10**6) or ()}
    assert {(0, 0x72, 0xB2), (0xD5, 0x5E, 0)} <= colours  # a curve each, seen by everybody


@pytest.mark.parametrize(
    ("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_kinds_of_files(cli: Cli, two: tuple[Run, Run], kind: str, start: bytes) -> None:
    (cli.folder / f"x.{kind}").write_text("overwritten")
    assert cli.good("plot", "--last", "2", "--out", f"x.{kind}").out == f"x.{kind}\n"
    assert (cli.folder / f"x.{kind}").read_bytes().startswith(start)


def test_what_is_drawn_of_a_live_run_is_what_the_stream_says(
    cli: Cli, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.start_training(display_name="alive")
    eventually(lambda: trainer.get_run(run.id).best_evaluation.games, "an evaluation")
    trainer.pause_run(run.id)  # no more points: waiting for one would never end
    seen: list[tuple[list[Family], drawing.Look]] = []
    monkeypatch.setattr(
        drawing, "write", lambda families, look, path: seen.append((families, look))
    )
    before = _evaluations(trainer.stream_metrics(run.id).history())
    cli.good("plot")
    trainer.stop_run(run.id)
    after = _evaluations(trainer.stream_metrics(run.id))
    ((families, look),) = seen
    (family,) = families
    assert family.label == "alive" and look.metric == "lines"
    shown = list(zip(family.curve.xs, family.curve.ys, strict=True))
    assert before and shown[: len(before)] == before
    assert after[: len(shown)] == shown


def _evaluations(points: Iterable[MetricPoint]) -> list[tuple[float, float]]:
    return [(p.placements, p.evaluation.mean_lines) for p in points if p.evaluation.games]


def test_groups_of_runs(cli: Cli, trainer: Trainer, two: tuple[Run, Run]) -> None:
    arguments = ("plot", *(run.id for run in two), "--by", "algorithm", "--over", "seconds")
    assert cli.good(*arguments, "--title", "Both").out == "curves.png\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x.gif"], [".png, .svg, .pdf"]),
        (["--out", "x"], [".png"]),
        (["--out", "folder.png"], ["is a folder"]),
        (["--size", "big"], ["WIDTHxHEIGHT", "8x4.5"]),
        (["--size", "1x4"], ["2 to 40"]),
        (["--size", "8x400"], ["2 to 40"]),
        (["--metric", "score"], ["lines", "learning-rate"]),
        (["--over", "games"], ["placements", "seconds"]),
        (["--by", "seed"], ["name"]),
        (["--last", "0"], ["--last"]),
        (["--last", "2", "train-a"], ["not both"]),
        (["../x"], ["run's id"]),
    ],
)
def test_wrong_usage(cli: Cli, arguments: list[str], words: list[str]) -> None:
    (cli.folder / "folder.png").mkdir()
    refused(cli.inside("plot", *arguments), 2, *words)
    assert list(cli.folder.iterdir()) == [cli.folder / "folder.png"]


def test_where_no_picture_can_lie(cli: Cli, two: tuple[Run, Run]) -> None:
    refused(cli.inside("plot", "--out", "nowhere/x.png"), 1, "there is no folder nowhere")
    if sys.platform == "linux":
        refused(cli.inside("plot", two[0].id, "--out", "/proc/x.png"), 1, "cannot be written")


def test_runs_that_cannot_be_drawn(cli: Cli, trainer: Trainer, two: tuple[Run, Run]) -> None:
    refused(cli.inside("plot", "train-000000"), 4, "train-000000", "mltetris ps")
    # The small workers measure no loss.
    refused(
        cli.inside("plot", two[0].id, "--metric", "loss"), 5, two[0].id, "losses", "mltetris show"
    )
    run = trainer.start_training()
    in_state(trainer, run.id, "running")
    trainer.save_slot("drawn", run=run.id, checkpoint="latest")
    trainer.stop_run(run.id)
    demo = trainer.start_demo(["drawn"])
    refused(cli.inside("plot", demo.id), 5, demo.id, "only trainings have curves")
    trainer.stop_run(demo.id)


def test_of_the_newest_runs_those_without_a_curve_are_left_out(tmp_path: Path) -> None:
    with small_service(tmp_path / "data", "--max-runs", "1") as server:
        cli = Cli(tmp_path, server.address)
        refused(cli.inside("plot"), 4, "no trainings yet", "mltetris train")
        with mltetris_client.connect(server.address) as trainer:
            run = trainer.start_training()
            eventually(lambda: trainer.get_run(run.id).best_evaluation.games, "an evaluation")
            waiting = trainer.start_training()
            refused(cli.inside("plot"), 5, waiting.id, "queued", "no evaluations")
            refused(cli.inside("plot", run.id, waiting.id), 5, waiting.id)
            result = cli.good("plot", "--last", "9", "-o", "json")
            assert result.json["runs"] == [run.id]
            assert f"left out: {waiting.id}" in result.err


def test_no_server(alone: Cli) -> None:
    refused(alone("plot", "--server", "127.0.0.1:1"), 3, "127.0.0.1:1", "mltetris serve")


def test_matplotlib_is_loaded_only_to_draw_and_may_be_missing(alone: Cli) -> None:
    code = (
        "import sys\n"
        "from mltetris_cli.main import run\n"
        "assert run(['plot', '--help']) == 0\n"
        "assert 'matplotlib' not in sys.modules\n"
        "sys.modules['matplotlib'] = None\n"
        "sys.exit(run(['plot']))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=alone.environment
    )
    assert ended.returncode == 1, ended
    assert 'pip install "mltetris[plot]"' in ended.stderr and ended.stderr.count("\n") == 1


# -- The whole way -------------------------------------------------------------------------------


def test_a_real_training(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        cli = Cli(tmp_path, server.address)
        run = cli.good(
            *("train", "--seed", "1", "--max-placements", "60000", "--mode", "headless"),
            *("--width", "6", "--height", "10", "--name", "small board"),
        ).out.strip()
        assert cli("watch", run).code == 0
        for metric in METRICS:
            assert cli.good("plot", "--metric", metric, "--out", f"{metric}.png").out
            with Image.open(tmp_path / f"{metric}.png") as picture:
                picture.load()
                assert picture.size == (8 * drawing.DPI, 4.5 * drawing.DPI)
        with mltetris_client.connect(server.address) as trainer:
            points = list(trainer.stream_metrics(run))
            best = trainer.get_run(run).best_evaluation
            curve = curve_of(points, "lines", "placements")
            assert max(curve.ys) == best.mean_lines and best.placements in curve.xs
            facts = in_common([trainer.get_run(run)])
            assert facts == "td · bcts features · 6x10 · 7-bag · gymnasium rule"
