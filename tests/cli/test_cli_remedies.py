"""Every option that an error message names is one of the command's, or its command is named beside it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import typer

from workflows.cli.app import app
from workflows.cli.remedies import FILE_KEYS, commands_of, fitting_remedy, options_of

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = commands_of(typer.main.get_command(app))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
OTHER_PROGRAMS = {
    "--index-url", "--uri", "--bind-to", "--mca", "--version", "--oversubscribe", "--errors", "--name",
    "--now", "--job-name", "--open-mode", "--dependency", "--begin", "--time", "--help",
}  # fmt: skip
MADE_OF_PARTS = {"--min", "--max"}  # followed by the name of a target


@cache
def texts():
    """Return where, and the text of each string that names an option; fields of f-strings read as X."""
    found = []
    for package in ("stores", "model", "workflows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "--" not in (source := path.read_text(encoding="utf-8")):
                continue
            inside = set()
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.JoinedStr):
                    inside.update(map(id, node.values))
                    parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
                    text = "".join(map(str, parts))
                elif (
                    isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
                ):
                    text = node.value
                else:
                    continue
                if OPTION.search(text) and "\n\n" not in text:  # a docstring is no message
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", text))
    return found


def known_options():
    return {option for command in COMMANDS.values() for option in options_of(command)}


def test_every_option_that_is_named_exists():
    known = known_options() | OTHER_PROGRAMS | MADE_OF_PARTS
    wrong = [
        (where, option) for where, text in texts() for option in OPTION.findall(text) if option not in known
    ]
    assert wrong == []


def test_named_commands_have_the_options_beside_them():
    found = []
    for where, text in texts():
        for match in re.finditer(r"mgsurf ([a-z-]+)((?: [^;,()`\n]*?)?(?: --[a-z][a-z-]*[a-z]))", text):
            name, rest = match.group(1), match.group(2)
            if name in COMMANDS:
                found += [
                    (where, name, option)
                    for option in OPTION.findall(rest)
                    if option not in options_of(COMMANDS[name]) | OTHER_PROGRAMS
                ]
    assert found == []


def test_messages_of_shared_code_fit_every_command():
    owners = {
        option: [n for n, c in COMMANDS.items() if option in options_of(c)] for option in known_options()
    }
    for name, command in COMMANDS.items():
        fine = options_of(command) | OTHER_PROGRAMS | MADE_OF_PARTS
        for where, text in texts():
            fitted = fitting_remedy(text, name, COMMANDS)
            for option in set(OPTION.findall(fitted)) - fine:
                assert any(f"mgsurf {owner}" in fitted for owner in owners[option]), (where, option, fitted)


def test_keys_are_those_of_the_files():
    from workflows.flows.campaign.settings import Campaign
    from workflows.flows.learning.pretraining import LabelSection, PretrainingFile
    from workflows.flows.learning.study_file import DataSetSection, StudyFile

    files = {
        "submit": (Campaign,),
        "transfer": (StudyFile, DataSetSection),
        "pretrain": (PretrainingFile, LabelSection),
    }
    assert FILE_KEYS.keys() == files.keys()
    for name, keys in FILE_KEYS.items():
        known = {key for model in files[name] for key in model.model_fields}
        assert set(keys.values()) <= known
        assert not keys.keys() & options_of(COMMANDS[name])


def test_a_missing_store_of_a_study_is_a_key_of_its_file(refused_here, tmp_path):
    (tmp_path / "near.sqlite").touch()
    study = tmp_path / "study.yaml"
    sets = "".join(f"  {name}: {{store: {tmp_path}/{name}.sqlite, target: gap}}\n" for name in ("a", "b"))
    study.write_text(f"data:\n{sets}fine_tuning: {{sizes: [10]}}\n")
    line = refused_here("transfer", study)
    assert "--store" not in line and f"(store: in {study})" in line and "store: " in line.split("(")[0]
    assert "--store" in refused_here("query", "--store", tmp_path / "a.sqlite")
