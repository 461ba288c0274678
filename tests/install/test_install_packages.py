from __future__ import annotations

from workflows.engines.install_packages import remove_stray_tests


def test_a_package_named_tests_is_removed_and_nothing_else(tmp_path):
    for name in ("tests", "optimade"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    remove_stray_tests(tmp_path)
    remove_stray_tests(tmp_path)  # nothing to do
    assert [entry.name for entry in tmp_path.iterdir()] == ["optimade"]
