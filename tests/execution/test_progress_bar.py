from __future__ import annotations

import io

import pytest
from rich.console import Console

from workflows.execution import progress_bar
from workflows.execution.progress_bar import ProgressBar, show_in_open_bar


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test lets them."""
    seconds = [100.0]
    monkeypatch.setattr(progress_bar, "monotonic", lambda: seconds[0])

    def sleep(time):
        seconds[0] += time

    return sleep


def work(bar, sleep, steps, seconds, stage="importing"):
    for number in range(1, steps + 1):
        sleep(seconds)
        bar.show(stage, number, steps, f"slab-{number}")


@pytest.mark.parametrize(
    ("steps", "seconds", "expected"),
    [
        (100, 0.02, 0),  # 2 s: nothing is worth a line
        (10, 1.0, 4),  # after 3, 6 and 9 s, and at the end
        (1, 10.0, 0),  # one step: the command itself prints its result
        (3600, 3.0, 114),  # three hours: the pauses grow
    ],
)
def test_lines_in_a_pipe_come_every_few_seconds_and_at_the_end(clock, capsys, steps, seconds, expected):
    with ProgressBar() as bar:
        bar.show("importing", 0, steps)
        work(bar, clock, steps, seconds)
    lines = capsys.readouterr().err.splitlines()
    assert abs(len(lines) - expected) <= expected // 10, len(lines)
    assert all(line.startswith("mgsurf: importing, ") for line in lines)
    if lines:
        assert f"/{steps}" in lines[0] and "slab-" in lines[0] and "left" in lines[1]
        assert f"{steps}/{steps}, after" in lines[-1]


def test_the_time_left_does_not_count_what_came_before_the_first_step(clock, capsys):
    with ProgressBar() as bar:
        bar.show("importing")
        for number, seconds in enumerate((30.0, 1.0, 1.0, 1.0), start=1):
            clock(seconds)
            bar.show("importing", number, 24)
    first, second, _ = capsys.readouterr().err.splitlines()
    assert "1/24" in first and "left" not in first
    assert "4/24" in second and "about 20 s left" in second


def test_each_stage_has_its_lines_and_one_of_unknown_length_ends_with_the_command(clock, capsys):
    with ProgressBar() as bar:
        work(bar, clock, 4, 2.0, "symmetry")
        bar.show("slabs predicted")
        for number in (10, 20, 25):
            clock(2.0)
            bar.show("slabs predicted", number)
    lines = [line.removeprefix("mgsurf: ").split(", ") for line in capsys.readouterr().err.splitlines()]
    assert [line[:2] for line in lines] == [
        ["symmetry", "2/4"],
        ["symmetry", "4/4"],
        ["slabs predicted", "20"],
        ["slabs predicted", "25"],
    ]
    assert lines[-1][2] == "after 6 s"


@pytest.mark.parametrize("options", [{"quiet": True}, {"lines": False}])
def test_nothing_is_shown_where_nothing_is_wanted(clock, capsys, options):
    with ProgressBar(**options) as bar:
        work(bar, clock, 10, 5.0)
    assert capsys.readouterr() == ("", "")


def test_a_failure_adds_no_line(clock, capsys):
    with pytest.raises(ValueError, match="x"), ProgressBar() as bar:
        work(bar, clock, 2, 4.0)
        bar.show("next", 1, 2)
        clock(4.0)
        bar.show("next", 1, 2)
        raise ValueError("x")
    assert "after" not in capsys.readouterr().err.splitlines()[-1]


def test_a_terminal_shows_every_stage_and_takes_details_as_they_are(capsys):
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=110)
    with ProgressBar(console=console) as bar:
        bar.show("reading slabs")
        bar.show("training", 0.5, 1.0, "[/Mg] loss 0.1", count="50%", seconds_left=400)
        bar.show("training", 1.0, 1.0, "[/Mg] loss 0.2", count="100%")
    text = page.getvalue()
    assert "training" in text and "[/Mg] loss 0.2" in text and "100%" in text
    assert capsys.readouterr() == ("", "")


def test_what_has_no_bar_passed_to_it_shows_its_stage_in_the_open_one(capsys, monkeypatch):
    monkeypatch.setattr(progress_bar, "INTERVAL", 0.0)
    show_in_open_bar("nobody looks", 1, 2)
    with ProgressBar():
        show_in_open_bar("sevennet-0", 3, 40)
    show_in_open_bar("nobody looks", 2, 2)
    lines = capsys.readouterr().err
    assert "sevennet-0" in lines and "3/40" in lines and "nobody" not in lines
