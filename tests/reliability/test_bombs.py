"""Small files that stand for very much: refused in one line by the command that reads them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import time
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from stores import input_files
from tests.jobs import minimal_vasprun as minimal
from tests.reliability.limits import run_here

CAMPAIGN = "name: a\nengine: {name: 'tests.engines.pair_engine:PairEngine'}\n"
ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
DEEP = "[" * 100_000
WIDE = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:99999999\nMg 0 0 0\n'


@pytest.fixture(autouse=True)
def small_limits(tmp_path, monkeypatch):
    """The limits at a hundredth, so that the bombs are made quickly."""
    monkeypatch.setattr(input_files, "SMALL", 1 << 18)
    monkeypatch.chdir(tmp_path)


def bomb(start: bytes = b"") -> bytes:
    return gzip.compress(start + b" " * (1 << 25), 9)


def refused(arguments: list[str], *words: str, code: int = 2) -> None:
    start = time.perf_counter()
    found, out, err = run_here(arguments)
    assert (found, len(err.strip().splitlines())) == (code, 1), err
    assert "Traceback" not in out + err
    for word in words:
        assert word in err + out
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "content", "arguments", "words"),
    [
        ("c.yaml", f"{CAMPAIGN}{ALIASES}compounds: *a8\n", ["run", "c.yaml"], ("c.yaml:8", "aliases")),
        ("c.yaml", f"{CAMPAIGN}compounds: {DEEP}", ["run", "c.yaml"], ("c.yaml:3", "100 levels")),
        ("c.yaml", CAMPAIGN + "compounds: " + "- " * 100_000, ["status", "c.yaml"], ("c.yaml:3",)),
        ("c.yaml", CAMPAIGN + "x" * (1 << 22), ["run", "c.yaml"], ("c.yaml", "2 MiB")),
        ("c.yaml", CAMPAIGN + "seed: " + "9" * 5000, ["run", "c.yaml"], ("c.yaml:3", "1,000 digits")),
        ("c.yaml", bomb(CAMPAIGN.encode()), ["run", "c.yaml"], ("c.yaml", "2 MiB")),
        ("mgsurf.yaml", ALIASES, ["query"], ("mgsurf.yaml", "aliases")),
        ("mgsurf.yaml", DEEP, ["query"], ("mgsurf.yaml", "100 levels")),
        ("a.json", DEEP, ["slabs", "a.json"], ("a.json", "100 levels")),
        ("a.json", '{"lattice": {"matrix": ' + DEEP, ["slabs", "a.json"], ("a.json", "100 levels")),
        ("a.cif", bomb(b"data_a\n"), ["slabs", "a.cif"], ("a.cif", "300 times")),
        ("POSCAR", bomb(b"MgAg\n1.0\n"), ["slabs", "POSCAR"], ("POSCAR", "300 times")),
        ("a.xyz", "9" * 400 + "\n\nMg 0 0 0\n", ["slabs", "a.xyz"], ("a.xyz, line 1",)),
        ("a.xyz", WIDE, ["slabs", "a.xyz"], ("a.xyz, line 2", "99999999")),
        ("p.csv", bomb(b"bulk,slab\n"), ["ingest", "--pairs", "p.csv"], ("p.csv", "300 times")),
        ("slabs.json.gz", bomb(b"[1"), ["import", "slabs.json.gz"], ("slabs.json.gz", "300 times")),
        ("slabs.json.gz", gzip.compress(DEEP.encode()), ["import", "slabs.json.gz"], ("100 levels",)),
        ("q", "", ["query", f"--filter={DEEP}"], ("--filter", "100 levels")),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)  # fmt: skip
def test_one_line_within_seconds(monkeypatch, name, content, arguments, words):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    if name == "mgsurf.yaml":
        monkeypatch.setenv("MGSURF_CONFIG", name)
    refused(arguments, *words)


@pytest.mark.parametrize("text", [DEEP, '{"lock_version": 2, "compounds": ' + DEEP], ids=["list", "lock"])
def test_lock_file(text):
    Path("c.yaml").write_text(CAMPAIGN + "sources: [{prototypes: [B2], partners: [Ag]}]\n")
    Path("c.lock.json").write_text(text)
    refused(["run", "c.yaml"], "c.lock.json", "100 levels")


GRID = "slab\n1.0\n3.2 0 0\n0 3.2 0\n0 0 25.4\nMg\n1\nDirect\n0 0 0\n\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vasprun.xml", bomb(b"<modeling>")),
        ("vasprun.xml.gz", bomb(b"<modeling><incar>")),
        ("vasprun.xml", b"<modeling>" + b"<a>" * 100_000),
        ("vasprun.xml", b'<?xml version="1.0" encoding="x-none"?><modeling></modeling>'),
        ("vasprun.xml", minimal.slab().replace("12 12 1<", "12 12 inf<").encode()),
        ("vasprun.xml", minimal.slab().replace(">0.3333333333333333 ", ">-1e308 ").encode()),
        ("vasprun.xml", minimal.slab().replace("0 0 25.4", "0 0 1e200").encode()),
        ("vasprun.xml", minimal.slab().replace("<c>5</c>", "<c>1e400</c>").encode()),
        (
            "vasprun.xml",
            b'<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaaaa">'
            + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 9))
            + b"]><modeling><incar><i name='A'>&a8;</i></incar></modeling>",
        ),
        ("LOCPOT.gz", bomb(GRID.encode() + b" 2 2 24\n")),
        ("LOCPOT", f"{GRID} 99999999 1 99999999\n1.0\n".encode()),
        ("LOCPOT", f"{GRID} 2 2 24\n".encode() + b"1" * (1 << 22)),
        ("OUTCAR.gz", bomb(b" E-fermi : 1.0 ")),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)  # fmt: skip
def test_one_bad_folder_does_not_stop_an_ingest(name, content):
    for folder in ("bulk", "slab"):
        minimal.write(Path("tree") / folder, getattr(minimal, folder)())
    bad = Path("tree/bad")
    shutil.copytree("tree/slab", bad)
    if name.startswith("vasprun"):
        (bad / "vasprun.xml").unlink()
    (bad / name).write_bytes(content)
    start = time.perf_counter()
    code, out, err = run_here(["ingest", "tree", "--store", "s.sqlite", "--json"])
    assert code in (0, 1), err
    assert "Traceback" not in err
    assert json.loads(out)["surfaces"], "the good folders are read"
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("word", ["Infinity", "-inf", "NaN", "1e400", "****"])
@pytest.mark.parametrize("what", ["energy", "fermi", "force"])
def test_numbers_that_are_none_in_a_vasprun(word, what):
    given = {"fermi": {"fermi": word}, "force": {"force": word}}.get(what, {})
    minimal.write(Path("tree/bulk"), minimal.bulk())
    minimal.write(Path("tree/slab"), minimal.slab(*([word] if what == "energy" else []), **given))
    code, out, err = run_here(["ingest", "tree", "--store", "s.sqlite", "--json"])
    assert code in (0, 1), err
    assert "Traceback" not in err
    for kind in ("nan", "inf"):
        assert f": {kind}" not in out.lower()


def test_model_file_that_expands(tmp_path):
    torch = pytest.importorskip("torch")
    from model.training.train import read_tensors
    from stores.errors import InputError

    plain = io.BytesIO()
    torch.save({"a": torch.zeros(1 << 20)}, plain)
    path = tmp_path / "model.pt"
    with ZipFile(plain) as old, ZipFile(path, "w", ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    with pytest.raises(InputError, match="entries are larger than the file"):
        read_tensors(path)
