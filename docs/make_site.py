"""Build the documentation as a site.

    python docs/make_site.py [FOLDER]

Its pages are the Markdown files and the tutorial with its stored outputs; other files of the repository that
they link to are copied beside them. A broken link is an error.
"""

from __future__ import annotations

import base64
import re
import shutil
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / ".venv" / "site"
PAGES = {
    ROOT / "README.md": "index.md",
    ROOT / "CONTRIBUTING.md": "contributing.md",
    ROOT / "CHANGELOG.md": "changelog.md",
    ROOT / "benchmarks" / "README.md": "benchmarks.md",
    **{path: path.name for path in DOCS.glob("*.md")},
    DOCS / "tutorial.ipynb": "tutorial.md",
}


def gather(folder: Path) -> None:
    """Write the pages, and the files that they link to, into an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(DOCS / "site.css", folder)
    for source, page in PAGES.items():
        text = tutorial(folder) if source.suffix == ".ipynb" else source.read_text(encoding="utf-8")
        text = equations(text, folder, Path(page).stem)
        (folder / page).write_text(linked(text, source, folder), encoding="utf-8")


def linked(text: str, source: Path, folder: Path) -> str:
    """Let the links of a page lead to pages and files of the site."""

    def place(match: re.Match[str]) -> str:
        path = (source.parent / match[1]).resolve()
        path = path / "README.md" if path.is_dir() else path
        if not path.is_file() or ROOT not in path.parents:
            return match[0]  # to another site; or mkdocs reports it
        if path in PAGES:
            return f"]({PAGES[path]}{match[2]}"
        name = f"files/{path.relative_to(ROOT)}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
        return f"]({name}{match[2]}"

    return re.sub(r"\]\(([^)\s#]+)((?:#[^)\s]*)?\))", place, text)


def equations(text: str, folder: Path, page: str) -> str:
    """Draw displayed equations ($$) as pictures, so that no script has to be fetched for them."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    size = FontProperties(size=15)

    def picture(match: re.Match[str]) -> str:
        name = f"equation-{page}-{match.start()}.svg"
        formula = " ".join(match[1].split()).rstrip(" .")
        math_to_image(f"${formula}$", folder / name, prop=size, dpi=72, format="svg")
        return f"![{formula}]({name})"

    return re.sub(r"\$\$(.+?)\$\$", picture, text, flags=re.DOTALL)


def tutorial(folder: Path) -> str:
    """Return the notebook as a page; its figures become files."""
    parts = []
    for number, cell in enumerate(nbformat.read(DOCS / "tutorial.ipynb", as_version=4).cells):
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        if printed := "".join(output.get("text", "") for output in cell.outputs):
            parts.append(f"```text\n{printed.rstrip()}\n```")
        for data in (output.get("data", {}) for output in cell.outputs):
            if "image/png" in data:
                (folder / f"tutorial-{number}.png").write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![Figure of the cell above](tutorial-{number}.png)")
            elif "text/html" in data:
                table = re.search(r"<table.*</table>", data["text/html"], re.DOTALL)
                parts.append(re.sub(r"\n\s*| class=\"dataframe\"| border=\"1\"", "", table[0]))
    return "\n\n".join(parts) + "\n"


def build(site: Path) -> None:
    """Build the site into a folder; warnings of mkdocs are errors."""
    import logging

    from mkdocs.commands import build as mkdocs
    from mkdocs.config import load_config

    pages = site.with_name(f"{site.name}-pages")
    gather(pages)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    mkdocs.build(load_config(str(DOCS / "mkdocs.yml"), docs_dir=str(pages), site_dir=str(site), strict=True))


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else SITE
    build(place)
    print(place / "index.html")
