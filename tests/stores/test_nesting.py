from __future__ import annotations

import json
import time

import pytest
from ruamel.yaml import YAML

from stores.input_files import DEEPEST, TooDeepError, load_json, load_yaml

ALIASES = "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else ', '.join('x' * 10)}]\n" for i in range(9)
)
MERGES = "m0: &m0 {a: 1}\n" + "".join(
    f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}, *m{i - 1}]}}\n" for i in range(1, 40)
)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '[{"a":' * 60 + "1" + "}]" * 60,
        '["' + "]" * 500 + '", ' + "[" * 101 + "]" * 102,
        "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
    ],
    ids=lambda text: f"{text[:8]} {len(text)}",
)
def test_json_nested_too_deep(text):
    start = time.perf_counter()
    with pytest.raises(TooDeepError, match=str(DEEPEST)):
        load_json(text)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "value",
    [
        {"a": "[" * 5000},
        {"a": '\\"[[' * 500, "b": [1, {"c": "}" * 300}]},
        [[1, 2, 3]] * 1000,
        json.loads("[" * DEEPEST + "]" * DEEPEST),
        [{"a": []}, "{", "["],
    ],
    ids=lambda value: str(value)[:12],
)
def test_json_that_people_write(value):
    assert load_json(json.dumps(value)) == value
    assert load_json(json.dumps(value, indent=1).encode()) == value


def test_place_of_the_level_too_many():
    with pytest.raises(TooDeepError) as caught:
        load_json('{"a": [\n"\\n[[",\n' + "[" * 200 + "\n]]")
    assert caught.value.lineno == 3


@pytest.mark.parametrize(
    ("text", "lineno"),
    [
        (ALIASES + "compounds: *a8\n", 6),
        ("[" * 100_000, 1),
        ("a:\n  " + "{a: " * 5000, 2),
        ("- " * 100_000, 1),
        ("? " * 100_000, 1),
        ("a: 1\nb: " + "9" * 2000, 2),
        (MERGES, None),
    ],
    ids=lambda text: str(text)[:12],
)  # fmt: skip
def test_yaml_that_stands_for_too_much(text, lineno):
    start = time.perf_counter()
    with pytest.raises(TooDeepError) as caught:
        load_yaml(text, YAML(typ="rt"))
    assert lineno in (None, caught.value.lineno)
    assert time.perf_counter() - start < 10


def test_yaml_with_aliases_as_people_use_them():
    text = "s: &s {min_thickness: 8}\na: *s\nb: {<<: *s, vacuum: 15}\nc: [*s, *s]\n"
    found = load_yaml(text, YAML(typ="safe"))
    assert found["b"] == {"min_thickness": 8, "vacuum": 15}
    assert found["c"] == [{"min_thickness": 8}] * 2


def test_integer_that_python_does_not_read():
    with pytest.raises(ValueError, match="over 4,300 digits") as raised:
        load_json('{"a": ' + "9" * 5000 + "}")
    assert "sys." not in str(raised.value)
