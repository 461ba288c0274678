from __future__ import annotations

from pathlib import Path

import pytest

from stores.connections import default_store_uri
from stores.errors import InputError
from stores.settings_file import read_settings_file, resolve_ranks, resolve_work_dir


@pytest.fixture(autouse=True)
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    import os

    for name in list(os.environ):
        if name.startswith("MGSURF_"):
            monkeypatch.delenv(name)
    path = tmp_path / "settings.yaml"
    path.write_text("")
    monkeypatch.setenv("MGSURF_CONFIG", str(path))
    return path


def test_defaults() -> None:
    assert resolve_work_dir() == Path("mgsurf_runs").absolute()
    assert resolve_ranks() is None


def test_environment_before_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("store: a.sqlite\nranks: 4\n")
    monkeypatch.setenv("MGSURF_RANKS", "2")
    assert (default_store_uri(), resolve_ranks()) == ("a.sqlite", 2)
    monkeypatch.delenv("MGSURF_RANKS")
    assert resolve_ranks() == 4


@pytest.mark.parametrize("ranks", ["0", "-1", "2.5", "many", pytest.param("9" * 5000, id="digits")])
def test_wrong_ranks_in_the_environment(ranks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGSURF_RANKS", ranks)
    with pytest.raises(InputError, match=f"ranks: must be an integer of at least 1, not '{ranks[:40]}'"):
        resolve_ranks()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stor: x.sqlite", "stor: .*did you mean 'store'.*known settings are store"),
        ("1: x", "Setting 1: is not known; known settings"),
        ("store: 3", "store: must be the URI or file name of a store, not 3"),
        ("store: [a, b]", "store: must be"),
        ("store:", "store: must be"),
        ("work_dir: {a: b}", "work_dir: must be the name of a folder"),
        ("ranks: true", "ranks: must be an integer"),
        ("ranks: 2.5", "ranks: must be an integer"),
        ("ranks: many", "ranks: .*integer"),
        ("ranks: 0", "ranks: "),
        ("- a\n- b", "lines such as"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_file(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    for read in (resolve_ranks, read_settings_file, default_store_uri, resolve_work_dir):
        with pytest.raises(InputError, match=words) as caught:
            read()
        assert str(config) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_named_file(config: Path) -> None:
    config.unlink()
    with pytest.raises(InputError, match="MGSURF_CONFIG"):
        read_settings_file()


def test_ranks_may_be_left_open(config: Path) -> None:
    config.write_text("ranks:\n")
    assert resolve_ranks() is None
