from __future__ import annotations

from workflows.engines.install_packages import remove_stray_tests
from workflows.engines.pip_runner import is_whole


def test_a_package_named_tests_is_removed_and_nothing_else(tmp_path):
    for name in ("tests", "optimade"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    info = tmp_path / "optimade-1.5.0.dist-info"
    info.mkdir()
    (info / "INSTALLER").write_text("pip\n")
    (info / "METADATA").touch()
    (info / "RECORD").write_text("optimade/__init__.py,,\ntests/__init__.py,,\n")
    remove_stray_tests(tmp_path)
    remove_stray_tests(tmp_path)  # nothing to do
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["optimade", info.name]
    assert is_whole(info)
