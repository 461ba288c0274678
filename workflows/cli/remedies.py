"""Options in error messages: those that the command lacks become keys of its file, or name their command.

Messages come from code that several commands share, and name the options that most of these have.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_KEYS: dict[str, dict[str, str]] = {
    "submit": {"--store": "store"},
    "transfer": {
        "--store": "store",
        "--method": "method",
        "--snapshot": "snapshot",
        "--preset": "preset",
        "--split": "split",
        "--targets": "target",
        "--seed": "seeds",
    },
    "pretrain": {
        "--source": "source",
        "--bulk": "bulk",
        "--relaxed": "relaxed",
        "--unit": "unit",
        "--method": "method",
        "--preset": "preset",
        "--targets": "target",
        "--seed": "seed",
    },
}
"""Keys, in the file of a command, that have the meaning of an option of other commands."""

_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
_COMMAND = re.compile(r"\bmgsurf ([a-z][a-z-]*(?: [a-z][a-z-]*)?)")


@cache
def options_of(command: Any) -> frozenset[str]:
    """Return the long options of a click command."""
    return frozenset(
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    )


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """Return the commands below a click group by their full names, such as ``store backup``."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands_of(command, f"{before}{name} ")
        else:
            found[f"{before}{name}"] = command
    return found


def fitting_remedy(text: str, name: str, commands: Mapping[str, Any], file: str = "its file") -> str:
    """Return an error message of a command with options that it has, or that name their command.

    Parameters
    ----------
    text
        The message; options of other programs stay as they are.
    name
        Of the command, a key of `commands`.
    commands
        All commands, see `commands_of`.
    file
        Path of the file that the command was given.
    """
    own, keys = options_of(commands[name]), FILE_KEYS.get(name, {})
    owners: dict[str, list[str]] = {}
    for other, command in commands.items():
        for option in options_of(command):
            owners.setdefault(option, []).append(other)
    used: dict[str, str] = {}
    foreign: dict[str, str] = {}

    def written(match: re.Match[str]) -> str:
        option = match.group()
        if option in own or option not in owners or _belongs(text[: match.start()], owners[option]):
            return option
        if option in keys:
            used[option] = f"{keys[option]}:"
            return used[option]
        several = owners[option]
        foreign[option] = (
            f"mgsurf {several[0]}" if len(several) == 1 else f"mgsurf {several[0]} and other commands"
        )
        return option

    fitted = _OPTION.sub(written, text)
    notes = []
    if used:
        notes.append(f"{', '.join(dict.fromkeys(used.values()))} in {file}")
    notes += [f"{option} belongs to {whose}" for option, whose in foreign.items()]
    return f"{fitted.rstrip('.')} ({'; '.join(notes)})" if notes else fitted


def file_of(values: Mapping[str, Any]) -> str:
    """Return the YAML file among the parameters of a command."""
    paths = [str(one) for one in values.values() if isinstance(one, Path) and one.suffix in (".yaml", ".yml")]
    return paths[0] if paths else "its file"


def _belongs(before: str, owners: list[str]) -> bool:
    """Whether the command named last before an option, in the same clause, has it."""
    clause = re.split(r"[;\n]", before)[-1]
    named = [match.group(1) for match in _COMMAND.finditer(clause)]
    return bool(named) and (named[-1] in owners or named[-1].partition(" ")[0] in owners)
