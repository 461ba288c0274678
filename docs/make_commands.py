"""Write docs/commands.md from the help texts of the command line: `python docs/make_commands.py`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, before an installed one
from workflows.cli.app import app

PAGE = Path(__file__).with_name("commands.md")
HEAD = """\
# Commands

Every command and option of `mgsurf`, as `mgsurf COMMAND --help` prints them. This page is made from the
help texts by `make docs`; a test compares them. Exit status: 0 all done, 1 part of it could not be done,
2 wrong input, 3 the engine cannot do it, 4 the store cannot be reached, 70 internal error, 74 disk full or
another error of the operating system, 130 interrupted.

The store of a command is `--store URI`, else the campaign's, else `MGSURF_STORE`, else `store` in
`~/.config/mgsurf.yaml`, else `./mgsurf.sqlite`.
"""


def page() -> str:
    """Return the text of the page."""
    groups: dict[str, list[tuple[str, Any]]] = {}
    for name, command in get_command(app).commands.items():
        groups.setdefault(command.rich_help_panel, []).append((name, command))
    parts = [HEAD]
    for panel, members in groups.items():
        links = " · ".join(f"[{name}](#mgsurf-{name})" for name, _ in members)
        parts.append(f"\n**{panel}**: {links}\n")
    for members in groups.values():
        for name, command in members:
            parts += [f"\n## mgsurf {name}\n", *_described(f"mgsurf {name}", command)]
            for sub_name, sub in getattr(command, "commands", {}).items():
                parts += [f"\n### mgsurf {name} {sub_name}\n", *_described(f"mgsurf {name} {sub_name}", sub)]
    return "".join(parts)


def _described(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [
        p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"
    ]
    places = [_argument(argument) for argument in arguments]
    if not hasattr(command, "commands"):
        yield f"\n    {' '.join([name, *places])}{' [OPTIONS]' if options else ''}\n"
    yield f"\n{_markdown(command.help or '')}\n"
    rows = [
        *((f"`{place}`", argument.help or "") for place, argument in zip(places, arguments, strict=True)),
        *((f"`{_option(option)}`", _help(option)) for option in options),
    ]
    if rows:
        yield "\n| option | |\n| --- | --- |\n"
        for left, right in rows:
            yield f"| {_cell(left)} | {_cell(_markdown(right))} |\n"


def _argument(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    if not argument.required and not name.startswith("["):
        name = f"[{name}]"
    return name + ("..." if argument.nargs == -1 and not name.endswith("...") else "")


def _option(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += f" / {', '.join(option.secondary_opts)}"
    if option.is_flag or option.count:
        return names
    return f"{names} {option.metavar or _value(option)}"


def _value(option: Any) -> str:
    kind = option.type_descriptor.annotation
    if get_origin(kind) is not Literal:
        kind = next((part for part in get_args(kind) if part is not type(None)), kind)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(one.value) for one in kind)
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _help(option: Any) -> str:
    text = option.help or ""
    default = option.default
    if option.show_default is False or default in (None, False, (), [], "") or callable(default):
        return text
    if isinstance(option.show_default, str):
        default = option.show_default
    elif isinstance(default, Enum):
        default = default.value
    return f"{text} Default: {'yes' if default is True else default}."


def _markdown(text: str) -> str:
    """Turn rich's colours of commands into code."""
    return re.sub(r"\[cyan\](.*?)\[/cyan\]", r"`\1`", text, flags=re.DOTALL).strip()


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
