"""The shape of the repository: where packages come from, who may import whom, what must not be committed."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("stores", "model", "workflows")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SKIPPED_FOLDERS = {".git", ".venv", "build", "dist"}
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".cff", ".cfg", ".sh", ""}


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0:
        names = [Path(name) for name in listing.stdout.split("\0") if name]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    # an unpacked archive has no git
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not SKIPPED_FOLDERS & set(path.relative_to(ROOT).parts)
    ]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.suffix in TEXT_SUFFIXES else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_resolve_inside_the_repository(package: str) -> None:
    module = importlib.import_module(package)
    assert Path(module.__file__).resolve() == ROOT / package / "__init__.py"


def test_every_folder_of_the_packages_is_a_package() -> None:
    assert [path for path in {path.parent for path in MODULES} if not (path / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_has_a_docstring_of_one_line_first(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    first = docstring.splitlines()[0]
    assert first.endswith((".", ":")), first


def test_tests_are_no_packages_and_their_names_are_unique() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_file_names_a_place_on_somebody_s_machine() -> None:
    home = re.compile(r"(?<![\w.])/(?:home|Users|root|work)/\w")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in tracked_files()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if home.search(line)
    ]
    assert found == []


def test_results_are_not_committed() -> None:
    results = (".sqlite", ".sqlite-wal", ".sqlite-shm", ".gpw", ".cube")
    assert [path for path in tracked_files() if path.name.endswith(results)] == []


def test_layer_contracts_hold() -> None:
    checker = Path(sys.executable).parent / "lint-imports"
    assert checker.exists(), f"{checker} is missing: make test installs import-linter"
    done = subprocess.run([str(checker), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* kept, 0 broken", done.stdout)


def test_modules_do_not_import_each_other_in_circles() -> None:
    import grimp

    # with imports inside functions and those for annotations
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imported = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail("import circle: " + " <- ".join(error.args[1]))


def test_links_between_the_documents_lead_somewhere() -> None:
    broken = []
    for path in (p for p in tracked_files() if p.suffix == ".md"):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = (path.parent / name).resolve() if name else path
            if not place.exists() or (anchor and anchor not in anchors(place)):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def test_files_and_names_in_the_documents_exist() -> None:
    unknown = []
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\b(?:stores|model|workflows|tests|examples)/[\w/]+\.(?:py|yaml)\b", text):
            if not (ROOT / name).is_file() and not name.startswith("examples/NAME"):
                unknown.append(f"{path.name}: {name}")
        for name in re.findall(r"`((?:stores|workflows)(?:\.\w+)+)", text):
            if not resolves(name):
                unknown.append(f"{path.name}: {name}")
    assert unknown == []


def resolves(name: str) -> bool:
    """Tell whether a dotted name is a module or something in one."""
    module, rest = name, []
    while module:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            rest.insert(0, last)
            continue
        for part in rest:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def anchors(path: Path) -> set[str]:
    """Return the names GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r"^#+ +(.+?) *$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
