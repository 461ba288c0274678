"""``~`` in paths, the home folder and the folder of caches, also of users without either."""

from __future__ import annotations

import getpass
import os
import pwd
import re
from pathlib import Path

import pytest

from stores.connections import parse_uri
from stores.errors import InputError
from stores.paths import cache_folder, expand_user, home_folder, user_and_host
from stores.settings_file import read_settings_file, resolve_work_dir, settings_file

HOMELESS_USER = 987654


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and a user number without an entry in the password file."""
    for name in ("HOME", "MGSURF_CACHE", "XDG_CACHE_HOME", "MGSURF_CONFIG", "LOGNAME", "USER", "LNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("USERNAME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: HOMELESS_USER)
    with pytest.raises(KeyError):
        pwd.getpwuid(HOMELESS_USER)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("~", "/h"), ("~/a b", "/h/a b"), ("a/~", "a/~"), ("/~", "/~"), ("", ".")],
)
def test_home_is_put_in_place_of_a_leading_tilde(monkeypatch, path: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/h")
    assert expand_user(path) == Path(expected)


@pytest.mark.parametrize(
    "use",
    [
        lambda path: expand_user(path),
        lambda path: parse_uri(f"{path}/s.sqlite"),
        lambda path: parse_uri(f"sqlite:///{path}/s.db"),
        lambda path: resolve_work_dir(path),
        lambda path: resolve_work_dir(campaign=f"{path}/runs"),
    ],
)
def test_a_user_that_does_not_exist(use) -> None:
    with pytest.raises(InputError, match="no user nosuchuser") as caught:
        use("~nosuchuser")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", ["MGSURF_CACHE", "XDG_CACHE_HOME", "MGSURF_CONFIG", "MGSURF_WORK_DIR"])
def test_a_variable_with_a_user_that_does_not_exist(monkeypatch, variable: str) -> None:
    for name in ("MGSURF_CACHE", "MGSURF_WORK_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "~nosuchuser/x")
    use = {"MGSURF_CONFIG": settings_file, "MGSURF_WORK_DIR": resolve_work_dir}.get(variable, cache_folder)
    with pytest.raises(InputError, match="no user nosuchuser"):
        use()


@pytest.mark.usefixtures("homeless")
def test_without_a_home() -> None:
    assert home_folder() is None
    assert read_settings_file() == {}
    assert user_and_host().startswith("unknown@")
    for use in (cache_folder, lambda: expand_user("~"), lambda: parse_uri("~/x.sqlite")):
        with pytest.raises(InputError, match="set HOME"):
            use()


@pytest.mark.usefixtures("homeless")
def test_gpaw_without_a_home() -> None:
    from workflows.engines.gpaw.presets import installed_labels

    installed_labels("Mg")


@pytest.mark.usefixtures("homeless")
def test_packages_that_look_for_a_home_end_in_one_line() -> None:
    from workflows.cli.app import ending

    with pytest.raises(RuntimeError) as raised:
        Path.home()
    (line,), status = ending(raised.value)
    assert status == 2
    assert "set HOME" in line


def test_folder_of_caches(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MGSURF_CACHE", "~/c")
    assert cache_folder() == tmp_path / "c"
    monkeypatch.delenv("MGSURF_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/mgsurf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache/mgsurf"


def test_user_and_host() -> None:
    assert re.fullmatch(rf"{re.escape(getpass.getuser())}@\S+", user_and_host())


def test_paths_are_expanded_in_one_place() -> None:
    """The one function that gives a line instead of a RuntimeError."""
    root = Path(__file__).parents[2]
    found = [
        str(path.relative_to(root))
        for package in ("stores", "model", "workflows")
        for path in (root / package).rglob("*.py")
        if re.search(r"expanduser|Path\.home\(|getpass\.getuser", path.read_text(encoding="utf-8"))
    ]
    assert sorted(found) == ["stores/paths.py"]
