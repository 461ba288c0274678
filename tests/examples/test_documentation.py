"""The documentation builds as a site, and the tutorial runs and prints what it shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a broken link or a page outside the navigation is an error."""
    place = tmp_path_factory.mktemp("documentation") / "site"
    runpy.run_path(str(DOCS / "make_site.py"))["build"](place)
    return place


def test_every_page_is_in_the_site_with_files_and_figures(site: Path) -> None:
    pages = {path.stem for path in site.glob("*.html")} - {"404"}
    assert {"index", "tutorial", *(path.stem for path in DOCS.glob("*.md"))} <= pages
    assert (site / "files" / "examples" / "own_engine.py").is_file()
    tutorial = (site / "tutorial.html").read_text(encoding="utf-8")
    figures = set(re.findall(r'src="(tutorial-\d+\.png)"', tutorial))
    assert len(figures) == 4 and all((site / name).is_file() for name in figures)


def test_reading_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = (
        r'<(?:script|img|iframe)[^>]+src="?(https?:[^" >]+)|<link[^>]+stylesheet[^>]+href="?(https?:[^" >]+)'
    )
    for page in site.glob("*.html"):
        assert re.findall(fetched, page.read_text(encoding="utf-8")) == [], page.name


def test_a_broken_link_is_an_error(tmp_path: Path) -> None:
    from mkdocs.exceptions import Abort

    make_site = runpy.run_path(str(DOCS / "make_site.py"))
    page = tmp_path / "page.md"
    page.write_text("[absent](absent.md) [no heading](physics.md#no-such-heading)", encoding="utf-8")
    make_site["PAGES"][page] = "contributing.md"
    with pytest.raises(Abort, match="2 warnings"):
        make_site["build"](tmp_path / "site")


def test_every_benchmark_that_is_named_exists_and_has_the_options_beside_it() -> None:
    pages = [ROOT / "benchmarks" / "README.md", *DOCS.glob("*.md")]
    commands = [line for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    found = [command for line in commands for command in re.findall(r"-m benchmarks\.(\w+)([^#`]*)", line)]
    assert len(found) > 30
    for name, rest in found:
        source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
        missing = [option for option in re.findall(r"--[a-z-]+", rest) if f'"{option}"' not in source]
        assert not missing, (name, missing)
    assert not [line for line in commands if re.search(r"python benchmarks/", line)]


def test_the_tutorial_prints_what_it_shows() -> None:
    import nbformat

    make_tutorial = runpy.run_path(str(DOCS / "make_tutorial.py"))
    shown = nbformat.read(make_tutorial["NOTEBOOK"], as_version=4)
    ran = make_tutorial["run"]()
    assert make_tutorial["texts"](ran) == make_tutorial["texts"](shown)
    code = "\n".join(cell.source for cell in shown.cells if cell.cell_type == "code")
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {
        "matplotlib",
        "pandas",
        "mgsurf",
    }
