"""A view that is looked at again and again until Ctrl-C: live on a terminal, else a line for each change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from time import sleep
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from stores.errors import MgsurfError, one_line
from stores.secrets import masked
from workflows.cli.console import page, print_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from rich.text import Text

State = TypeVar("State")


@dataclass(frozen=True)
class View(Generic[State]):
    """What is watched.

    `look` reads the state, `plain` gives it as plain values, `show` prints it on a console (None: stdout),
    `line` gives it in one line.
    """

    look: Callable[[], State]
    plain: Callable[[State], dict[str, Any]]
    show: Callable[[State, Console | None], None]
    line: Callable[[State], str]


def watch(view: View[Any], seconds: float, as_json: bool = False) -> int:
    """Show a view every so many seconds until Ctrl-C, which is its normal end: exit status 0.

    The first look must succeed. Later a store or a server may be away for a while: what is wrong is shown
    until it is back.
    """
    console = page()
    state, problem = view.look(), ""
    try:
        if console.is_terminal and not as_json:
            _live(view, state, seconds, console)
        last = ""
        while True:
            line = _shown(view, state, problem, as_json)
            if line != last:
                print(line if as_json else f"{datetime.now():%H:%M:%S}  {line}", flush=True)
                last = line
            sleep(seconds)
            state, problem = _look_again(view, state)
    except KeyboardInterrupt:
        return 0


def _live(view: View[Any], state: Any, seconds: float, console: Console) -> None:
    from rich.live import Live

    problem = ""
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        while True:
            live.update(_picture(view, state, problem, seconds, console), refresh=True)
            sleep(seconds)
            state, problem = _look_again(view, state)


def _look_again(view: View[Any], state: Any) -> tuple[Any, str]:
    try:
        return view.look(), ""
    except MgsurfError as error:
        return state, masked(one_line(error))


def _shown(view: View[Any], state: Any, problem: str, as_json: bool) -> str:
    """Return the line of a state, with the time where people read it."""
    if as_json:
        plain = view.plain(state)
        return json.dumps({**plain, "problem": problem} if problem else plain)
    return problem or view.line(state)


def _picture(view: View[Any], state: Any, problem: str, seconds: float, console: Console) -> Text:
    """Return what the command prints without --watch, and a line with the time."""
    from rich.console import Console
    from rich.text import Text

    # not the console of the terminal: what that prints while a table is live draws the live table too
    printed = StringIO()
    paper = Console(
        file=printed, width=console.width, height=console.height, highlight=False, force_terminal=True
    )
    view.show(state, paper)
    if problem:
        print_text(Text(problem, style="red"), paper)
    now = f"{datetime.now():%H:%M:%S}, again every {seconds:g} s; Ctrl-C ends"
    print_text(Text(now, style="dim"), paper)
    return Text.from_ansi(printed.getvalue())
