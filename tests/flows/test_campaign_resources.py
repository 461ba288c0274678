from __future__ import annotations

import pytest

from stores.errors import InputError
from workflows.flows.campaign.file import load_campaign

HEAD = "name: x\ncompounds: [{formula: Mg}]\nresources:\n"


def load(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(HEAD + text)
    return load_campaign(path).resources


def test_sections_take_what_they_do_not_say_from_above(tmp_path):
    resources = load(
        tmp_path,
        "  {nodes: 2, tasks_per_node: 32, partition: long, walltime: 12h, options: {constraint: milan}, "
        "light: {partition: short}, bulk: {nodes: 1}, "
        "slabs: [{up_to_atoms: 30}, {up_to_atoms: 80, walltime: 1-12:00:00}, "
        "{nodes: 8, options: {hint: nomultithread}}]}\n",
    )
    light, bulk, slabs = resources.of_light(), resources.of_bulk(), resources.of_slabs()
    assert (light.nodes, light.tasks_per_node, light.walltime, light.partition) == (1, 1, 1800, "short")
    assert light.options == {"constraint": "milan"}
    assert (bulk.nodes, bulk.tasks_per_node, bulk.walltime, bulk.partition) == (1, 32, 43200, "long")
    assert [(most, slab.nodes, slab.walltime) for most, slab in slabs] == [
        (30, 2, 43200), (80, 2, 36 * 3600), (None, 8, 43200)
    ]  # fmt: skip
    assert slabs[2][1].options == {"constraint": "milan", "hint": "nomultithread"}


def test_nothing_said(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: x\ncompounds: [{formula: Mg}]\n")
    assert load_campaign(path).resources is None
    resources = load(tmp_path, "  {partition: a}\n")
    assert [(most, slab.partition) for most, slab in resources.of_slabs()] == [(None, "a")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12:00:00", 43200), ("1-00:30:00", 88200), ("90min", 5400), ("2d", 172800), ("1.5h", 5400)],
)
def test_walltimes(tmp_path, text, seconds):
    assert load(tmp_path, f"  walltime: {text}\n").walltime == seconds


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("  nodes: 0\n", 4, "resources.nodes: must be at least 1, found 0"),
        ("  walltime: 12\n", 4, "resources.walltime: 12 is no time"),
        ("  walltime: 10000d\n", 4, "between one minute and one year"),
        ("  partiton: a\n", 4, "unknown key; did you mean 'partition'?"),
        ("  account: a;b\n", 4, "'a;b' holds a blank or a character that a shell would read"),
        ("  slabs:\n    - {nodes: 1}\n    - {nodes: 2}\n", 4, "every entry but the last needs up_to_atoms"),
        ("  slabs:\n    - {up_to_atoms: 5}\n    - {up_to_atoms: 5}\n", 4, "must grow from entry to entry"),
        ("  slabs:\n    - {up_to_atoms: x}\n", 5, "resources.slabs[1].up_to_atoms: expected a whole number"),
        ("  light:\n    nods: 1\n", 5, "did you mean 'nodes'?"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, text, line, words):
    with pytest.raises(InputError) as raised:
        load(tmp_path, text)
    (message,) = str(raised.value).splitlines()
    assert f"c.yaml:{line}: " in message
    assert words in message
