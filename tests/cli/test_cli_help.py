"""The help text of every command on a terminal of 80 columns: no word, option or type is cut."""

import io
import re
from contextlib import redirect_stdout

import pytest
from typer.main import get_command

from workflows.cli.app import app

ROOT = app if hasattr(app, "commands") else get_command(app)
COMMANDS = [()] + [
    path
    for name, command in ROOT.commands.items()
    for path in [(name,), *((name, sub) for sub in getattr(command, "commands", ()))]
]


def shown(path):
    output = io.StringIO()
    with redirect_stdout(output):
        app([*path, "--help"], standalone_mode=False, prog_name="mgsurf")
    return output.getvalue()


def command_of(path):
    command = ROOT
    for name in path:
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_at_80_columns(path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    text = shown(path)
    assert "…" not in text
    assert "Example" in text or hasattr(command_of(path), "commands")
    assert max(map(len, text.splitlines())) <= 80
    words = set(text.replace("│", " ").replace("[", " ").replace("]", " ").split())
    for parameter in command_of(path).params:
        if getattr(parameter, "hidden", False):
            continue
        assert set(parameter.opts) & words or parameter.param_type_name == "argument"
        kind = parameter.display_type_rich(None) if hasattr(parameter, "display_type_rich") else ""
        for word in (kind or "").replace("[", " ").replace("]", " ").split():
            assert word in words, f"{parameter.name}: {kind} is cut"
        for word in (
            re.sub(r"\[/?[a-z]*\]", "", parameter.help or "").replace("[", " ").replace("]", " ").split()
        ):
            assert word in words, f"{parameter.name}: {word!r} is cut"
