from __future__ import annotations

import pytest

from stores.errors import InputError
from workflows.engines.protocol import Engine
from workflows.engines.registry import available_engines, make_engine


def test_gpaw_is_known_and_satisfies_the_protocol():
    assert "gpaw" in available_engines()
    engine = make_engine("gpaw")
    assert isinstance(engine, Engine)
    assert engine.method().engine == "gpaw"


def test_engine_by_dotted_path():
    engine = make_engine("tests.engines.pair_engine:PairEngine", k_density=3.0)
    assert engine.method().k_density == 3.0


def test_equal_arguments_give_equal_fingerprints_and_options_change_them():
    plain, same = make_engine("gpaw"), make_engine("gpaw", preset="demo")
    assert plain.method().fingerprint == same.method().fingerprint
    fingerprints = {
        make_engine("gpaw", **options).method().fingerprint
        for options in ({}, {"cutoff": 350.0}, {"k_density": 5.0}, {"preset": "production"}, {"setups": {}})
    }
    assert len(fingerprints) == 5


def test_what_does_not_change_numbers_is_not_in_the_fingerprint():
    assert make_engine("gpaw", ranks=2, maxiter=50).method() == make_engine("gpaw").method()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vsap", {}, "unknown engine 'vsap'.*gpaw"),
        ("no.such.module:Engine", {}, "cannot import no.such.module"),
        ("workflows.engines.gpaw.engine:Missing", {}, "has no class Missing"),
        ("gpaw", {"preset": "fast"}, "no preset 'fast'.*demo, production"),
        ("gpaw", {"cutof": 300}, "no option 'cutof'.*cutoff"),
        ("gpaw", {"cutoff": -1}, "cutoff must be a positive number"),
        ("gpaw", {"k_density": "many"}, "k_density must be a positive number"),
        ("gpaw", {"ranks": 1.5}, "ranks must be a whole number"),
        ("gpaw", {"setups": ["Mg"]}, "setups must map"),
        ("collections:OrderedDict", {}, "'collections:OrderedDict' is not an engine"),
        ("types:SimpleNamespace", {}, "'types:SimpleNamespace' is not an engine"),
        ("stores.records:Method", {}, "is not an engine"),
        ("subprocess:run", {}, "'subprocess:run' is not an engine"),
        ("subprocess:Popen", {"args": "false"}, "is not an engine"),
        ("os:system", {}, "is not an engine"),
        ("builtins:exec", {}, "is not an engine"),
        ("os:path", {}, "is not an engine"),
        ("unittest.mock:MagicMock", {}, "is not an engine"),
        ("workflows.engines.protocol:Engine", {}, "'workflows.engines.protocol:Engine'"),
        ("broken_engine:Exits", {}, "importing broken_engine failed .SystemExit"),
        ("broken_start:Raises", {}, "refuses preset 'demo' and the options"),
    ],
)
def test_mistakes_are_named_with_what_is_allowed(name, options, message, tmp_path, monkeypatch):
    (tmp_path / "broken_engine.py").write_text("raise SystemExit(0)\n")
    (tmp_path / "broken_start.py").write_text(
        "from tests.engines.pair_engine import PairEngine\n"
        "class Raises(PairEngine):\n    def __init__(self, preset):\n        raise KeyError('x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        make_engine(name, **options)
    assert "\n" not in str(caught.value)
