"""What is fuzzed: for each kind of input valid examples, and the command that reads a mutated one."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.reliability.mutations import mutated, mutated_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.reliability.limits import Prepare

CAMPAIGNS = (
    """\
name: one
compounds:
  - formula: MgAg
    prototype: B2
    facets: [[1, 0, 0], "110", 111]
  - formula: Mg
  - file: MgAg.cif
    symprec: 0.05
slabs: {max_miller_index: 1, min_thickness: 6.0, vacuum: 15.0, max_terminations: 2, max_atoms: 60}
engine: {name: "tests.engines.pair_engine:PairEngine", preset: demo}
store: sqlite:///one.sqlite
work_dir: runs
""",
    """\
name: two
sources:
  - prototypes: [B2, L1_2]
    partners: [Ag, Zn]
  - folder: structures
filters: {exclude: [Cd], max_elements: 2, metals_only: true}
slabs: {max_miller_index: 1, min_thickness: 6.0}
engine: {name: gpaw, preset: demo}
resources: {nodes: 1, tasks_per_node: 8, walltime: 12h, partition: standard}
refresh: {min_new_records: 20, preset: best, members: 2}
""",
)
FILTERS = (
    '{"surface_energy": {"$lt": 0.05}, "chemsys": "Ag-Mg"}',
    '{"$or": [{"miller_index": [1, 0, 0]}, {"verdicts.work_function.status": {"$in": ["accepted"]}}]}',
    '{"formula": {"$regex": "^Mg", "$options": "i"}, "n_atoms": {"$exists": true, "$gte": 3}}',
    '{"$nor": [{"area": {"$not": {"$gt": 10.5}}}], "miller_index": {"$all": [1], "$size": 3}}',
    '{"calculations": {"$elemMatch": {"kind": "slab_relax"}}, "created_at": {"$gt": "2026-01-01T00:00:00Z"}}',
)
OPTIONS = (
    ("--chemsys", "Ag-Mg"), ("--formula", "MgAg"), ("--element", "Ag"), ("--miller", "10-1"),
    ("--termination", "Ag"), ("--min-surface-energy", "0.01"), ("--max-work-function", "4.5"),
    ("--verdict", "surface_energy=accepted"), ("--method", "ab12"), ("--campaign", "quick"),
    ("--since", "2026-01-31"), ("--since", "12h"), ("--sort", "-surface_energy"), ("--limit", "5"),
    ("--unit", "J/m2"),
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes
    ----------
    name
        For reports.
    share
        Of all inputs.
    prepare
        Writes a mutated input into an empty folder; returns the arguments of the command.
    """

    name: str
    share: float
    prepare: Callable[[Path, Random], list[str]]


def prepared(target: Target, seed: int, number: int) -> Prepare:
    """Return what makes one input, the same for the same seed and number."""
    return lambda folder: target.prepare(folder, Random(f"{seed} {target.name} {number}"))


def all_targets(home: Path) -> list[Target]:
    """Build valid inputs of each kind below a folder, and return what mutates and reads them."""
    for name in ("store", "structures", "ingest", "cgcnn", "shared", "model"):
        (home / name).mkdir(parents=True, exist_ok=True)
    store = _store(home / "store")
    structures = _structures(home / "structures")
    return [
        Target("query", 0.25, lambda folder, random: _query(store, random)),
        Target("campaign", 0.15, lambda folder, random: _campaign(store, structures, folder, random)),
        Target("lock", 0.12, _lock(home / "lock", store)),
        Target("structure", 0.18, lambda folder, random: _structure(structures, folder, random)),
        Target(
            "ingest", 0.12, _folder(_ingest(home / "ingest"), ["ingest", "ingest", "--store", "s.sqlite"])
        ),
        Target(
            "import cgcnn",
            0.06,
            _folder(
                _cgcnn(home / "cgcnn"),
                ["import", "cgcnn", "--store", "s.sqlite", "--targets", "surface_energy,work_function"],
            ),
        ),
        Target(
            "import shared",
            0.06,
            _folder(_shared(home / "shared"), ["import", "shared", "--store", "s.sqlite"]),
        ),
        Target(
            "model",
            0.06,
            _folder(_model(home / "model"), ["predict", "--model", "model", "--json", "POSCAR"]),
        ),
    ]


def _text(data: bytes) -> str:
    """As an argument of a command, which cannot hold NUL."""
    return os.fsdecode(data.replace(b"\0", b""))[:100_000]


def _query(store: Path, random: Random) -> list[str]:
    arguments = ["query", "--store", str(store)]
    others = [text.encode() for text in FILTERS]
    if random.random() < 0.6:
        text = random.choice(FILTERS)
        if random.random() < 0.4:
            raw = json.dumps(mutated_json(json.loads(text), random)).encode()
        else:
            raw = mutated(text.encode(), others, random)
        arguments.append(f"--filter={_text(raw)}")
    for name, value in random.sample(OPTIONS, random.choice((0, 1, 2))):
        arguments.append(f"{name}={_text(mutated(value.encode(), [], random))}")
    return arguments + random.choice(([], ["--json"], ["--csv"]))


def _campaign(store: Path, structures: Sequence[Path], folder: Path, random: Random) -> list[str]:
    from ruamel.yaml import YAML

    text = random.choice(CAMPAIGNS)
    shutil.copy(structures[0].with_name("MgAg.cif"), folder)
    if random.random() < 0.4:
        data = json.dumps(mutated_json(YAML(typ="safe").load(text), random)).encode()
    else:
        data = mutated(text.encode(), [other.encode() for other in CAMPAIGNS], random)
    (folder / "c.yaml").write_bytes(data)
    (folder / "structures").mkdir()
    shutil.copy(structures[0].with_name("Mg.cif"), folder / "structures")
    campaign = ["c.yaml", "--store", str(store)]
    commands = (["run", "c.yaml", "--dry-run"], ["status", *campaign], ["refresh", *campaign, "--dry-run"])
    return (
        random.choices(commands, (6, 1, 1))[0]
        if random.random() < 0.97
        else ["schedule", "c.yaml", "--with=cron"]
    )


def _structure(structures: Sequence[Path], folder: Path, random: Random) -> list[str]:
    path = random.choice(structures)
    data = path.read_bytes()
    if path.suffix == ".json" and random.random() < 0.6:
        data = json.dumps(mutated_json(json.loads(data), random)).encode()
    else:
        data = mutated(data, [other.read_bytes() for other in structures], random)
    (folder / path.name).write_bytes(data)
    return ["slabs", path.name, "--max-miller", "1", "--min-thickness", "5", "--json"]


def _lock(home: Path, store: Path) -> Callable[[Path, Random], list[str]]:
    from tests.reliability.limits import run_here

    home.mkdir(exist_ok=True)
    text = (
        CAMPAIGNS[1]
        .replace("  - folder: structures\n", "")
        .replace("name: gpaw", "name: tests.engines.pair_engine:PairEngine")
    )
    (home / "c.yaml").write_text(text)
    before = Path.cwd()
    os.chdir(home)
    try:
        code, _, err = run_here(["enumerate", "c.yaml", "--quiet", "--workers", "1"])
    finally:
        os.chdir(before)
    assert code == 0, err
    valid = (home / "c.lock.json").read_bytes()

    def prepare(folder: Path, random: Random) -> list[str]:
        (folder / "c.yaml").write_text(text)
        if random.random() < 0.6:
            data = json.dumps(mutated_json(json.loads(valid), random)).encode()
        else:
            data = mutated(valid, [valid], random)
        (folder / "c.lock.json").write_bytes(data)
        return random.choice(
            (
                ["run", "c.yaml", "--dry-run"],
                ["status", "c.yaml", "--store", str(store)],
                ["enumerate", "c.yaml", "--quiet", "--workers", "1"],
            )
        )

    return prepare


def _folder(source: Path, command: list[str]) -> Callable[[Path, Random], list[str]]:
    """Mutate one file of a folder, or the names of its files."""
    files = sorted(path for path in source.rglob("*") if path.is_file())

    def prepare(folder: Path, random: Random) -> list[str]:
        place = folder / source.name
        shutil.copytree(source, place)
        chosen = random.choice(files)
        target = place / chosen.relative_to(source)
        data = target.read_bytes()
        if target.suffix == ".json" and random.random() < 0.5:
            target.write_bytes(json.dumps(mutated_json(json.loads(data), random)).encode())
        elif random.random() < 0.95:
            target.write_bytes(mutated(data, [random.choice(files).read_bytes()], random))
        else:
            target.unlink()
            random.choice((lambda: None, target.mkdir, lambda: target.symlink_to(target.name)))()
        if (place / "POSCAR").exists():
            (place / "POSCAR").rename(folder / "POSCAR")
        return [*command]

    return prepare


def _store(home: Path) -> Path:
    import importlib.util
    import sys

    from stores.connections import open_store

    path = Path(__file__).parents[1] / "cli" / "records.py"
    spec = importlib.util.spec_from_file_location("cli_records", path)
    assert spec is not None and spec.loader is not None
    records = importlib.util.module_from_spec(spec)
    sys.modules["cli_records"] = records
    spec.loader.exec_module(records)
    with open_store(f"sqlite:///{home / 'store.sqlite'}") as store:
        store.add(records.quickstart_surfaces())
        store.add(records.calculations())
        store.add(records.bulk())
    return home / "store.sqlite"


def _structures(home: Path) -> list[Path]:
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    b2 = Structure(Lattice.cubic(3.34), ["Mg", "Ag"], [[0, 0, 0], [0.5] * 3])
    hexagonal = Structure(
        Lattice.hexagonal(3.2, 5.2), ["Mg", "Mg"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    )
    (home / "MgAg.cif").write_text(str(CifWriter(b2, symprec=0.01)))
    (home / "Mg.cif").write_text(str(CifWriter(hexagonal)))
    (home / "POSCAR").write_text(b2.to(fmt="poscar"))
    (home / "CONTCAR").write_text(
        "Mg\n-46\n 3.2 0 0\n -1.6 2.7713 0\n 0 0 5.2\nMg\n2\nSelective dynamics\nDirect\n"
        "0.3333333 0.6666667 0.25 T T F\n0.6666667 0.3333333 0.75 F F F\n"
    )
    (home / "MgAg.json").write_text(json.dumps(b2.as_dict()))
    (home / "MgAg.xyz").write_text(
        '2\nLattice="3.34 0 0 0 3.34 0 0 0 3.34" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
        "Mg 0 0 0\nAg 1.67 1.67 1.67\n"
    )
    return sorted(home.iterdir())


def _ingest(home: Path) -> Path:
    from tests.jobs import minimal_vasprun as minimal

    for name, text in (("bulk", minimal.bulk()), ("slab", minimal.slab())):
        minimal.write(home / name, text)
    (home / "slab" / "OUTCAR").write_text(
        " E-fermi :   1.0000     XC(G=0):  -9.0\n  free  energy   TOTEN  =       -6.967914 eV\n"
        " energy  without entropy=  -6.967914  energy(sigma->0) =  -6.967914\n"
        " aborting loop because EDIFF is reached\n"
    )
    grid = " ".join(f"{-3.0 + 0.1 * (i % 7):.5E}" for i in range(2 * 2 * 24))
    cell = "1.0\n3.2 0 0\n-1.6 2.771281 0\n0 0 25.4\nMg\n5\nDirect\n" + "0 0 0.5\n" * 5
    (home / "slab" / "LOCPOT").write_text(f"slab\n{cell}\n 2 2 24\n{grid}\n")
    (home / "slab" / "INCAR").write_text("ENCUT = 400\nLVHAR = .TRUE.\n")
    return home


def _cgcnn(home: Path) -> Path:
    from pymatgen.core import Lattice, Structure
    from pymatgen.io.cif import CifWriter

    for name, layers in (("a", 7), ("b", 9)):
        height = 1.65 * (layers - 1) + 15
        species = ["Mg" if i % 2 == 0 else "Ag" for i in range(layers)]
        coords = [[0.5 * (i % 2), 0.5 * (i % 2), (1.65 * i + 5) / height] for i in range(layers)]
        slab = Structure(Lattice.tetragonal(3.3, height), species, coords)
        (home / f"{name}.cif").write_text(str(CifWriter(slab)))
    (home / "id_prop.csv").write_text("a,0.05,3.5\nb,0.06,\n")
    return home


def _shared(home: Path) -> Path:
    records = [
        {
            "id": f"s{layers}",
            "miller": [1, 0, 0],
            "cell": [3.3, 3.3, 25.0, 90, 90, 90],
            "species": ["Mg" if i % 2 == 0 else "Ag" for i in range(layers)],
            "frac_coords": [[0.5 * (i % 2), 0.5 * (i % 2), (1.65 * i + 5) / 25] for i in range(layers)],
            "surface_energy": 0.05,
            "work_function": 3.9,
        }
        for layers in (5, 7)
    ]
    units = {"surface_energy": "eV/Angstrom^2", "work_function": "eV", "cell": "Angstrom"}
    (home / "slabs.json").write_text(json.dumps({"units": units, "records": records}))
    return home


def _model(home: Path) -> Path:
    from model.training.ensemble_files import save_ensemble
    from tests.model.untrained import untrained

    save_ensemble(untrained(1), home)
    slab = "MgAg\n1\n3.3 0 0\n0 3.3 0\n0 0 25\nMg Ag\n4 3\nDirect\n"
    slab += "".join(f"0 0 {(3.3 * i + 5) / 25:.5f}\n" for i in range(4))
    slab += "".join(f"0.5 0.5 {(3.3 * i + 6.65) / 25:.5f}\n" for i in range(3))
    (home / "POSCAR").write_text(slab)
    return home
