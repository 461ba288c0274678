from __future__ import annotations

from pathlib import Path

import pytest

from stores.errors import InputError
from stores.settings import Settings, load_settings


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
    assert load_settings().work_dir == ""
    assert load_settings().ranks is None


def test_environment_before_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("store: a.sqlite\nranks: 4\n")
    monkeypatch.setenv("MGSURF_RANKS", "2")
    settings = load_settings()
    assert (settings.store, settings.ranks) == ("a.sqlite", 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stor: x.sqlite", "stor: .*known settings are store"),
        ("ranks: many", "ranks: .*integer"),
        ("ranks: 0", "ranks: "),
        ("- a\n- b", "lines such as"),
        ("a: [", "cannot be read"),
    ],
)
def test_wrong_file(config: Path, text: str, words: str) -> None:
    config.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_settings()
    assert str(config) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_named_file(config: Path) -> None:
    config.unlink()
    with pytest.raises(InputError, match="MGSURF_CONFIG"):
        load_settings()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())
