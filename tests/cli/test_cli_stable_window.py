from __future__ import annotations

import csv
import io
import json

import pytest
from pymatgen.core import Composition, Lattice, Structure

from stores.connections import open_store
from stores.records import ReferenceRecord, content_hash
from workflows.cli.app import app

# eV/atom of mu0; formation energies per formula unit: MgAg -0.60, Mg3Ag -0.72, MgAg3 -0.80
MU0 = {"Mg": -1.5, "Ag": -2.7}
PHASES = {"Mg3Ag": (-0.72, 225), "MgAg3": (-0.80, 221)}


@pytest.fixture
def mgsurf(mgsurf_here):
    return mgsurf_here


def reference(records, element, method=None):
    method = method or records.METHOD
    return ReferenceRecord(
        id=content_hash([element, method.fingerprint]),
        formula=element,
        chemsys=element,
        method=method,
        method_fingerprint=method.fingerprint,
        element=element,
        prototype="A1",
        structure=Structure(Lattice.cubic(4.0), [element], [[0, 0, 0]]),
        energy_per_atom=MU0[element],
        calculation_id=f"reference-{element}",
    )


def bulk_of(records, formula, formation, number, known=True, method=None):
    """A bulk whose formation energy is kept in it, or has to be found from the references."""
    method = method or records.METHOD
    structure = Structure.from_dict(records.bulk().structure)
    counts = {"MgAg": (1, 1), "Mg3Ag": (3, 1), "MgAg3": (1, 3)}[formula]
    total = formation + counts[0] * MU0["Mg"] + counts[1] * MU0["Ag"]
    return records.bulk(formula).model_copy(
        update={
            "id": content_hash(
                [formula, "bulk", *([] if method is records.METHOD else [method.fingerprint])]
            ),
            "structure": structure.as_dict(),
            "spacegroup_number": number,
            "energy_per_formula_unit": total,
            "energy_per_atom": total / sum(counts),
            "formation_energy": formation if known else None,
            "method": method,
            "method_fingerprint": method.fingerprint,
        }
    )


def fill(records, path, names=("Mg3Ag", "MgAg3"), known=False, references=("Mg", "Ag"), target=-0.60):
    with open_store(f"sqlite:///{path}") as store:
        store.add(records.quickstart_surfaces())
        store.add([reference(records, element) for element in references])
        store.add(bulk_of(records, "MgAg", target, 221, known))
        store.add([bulk_of(records, name, *PHASES[name], known) for name in names])
    return path


@pytest.fixture
def query(capsys):
    """Run `mgsurf query --stable-window` in this process and return what it prints."""

    def run(path, *options):
        arguments = ["query", "--store", str(path), "--stable-window", *map(str, options)]
        assert app(arguments, standalone_mode=False) == 0
        printed = capsys.readouterr()
        assert printed.err == "" or "no surface matches" in printed.err
        return printed.out

    return run


def lines_of(query, path, *options):
    return json.loads(query(path, "--formula", "MgAg", "--json", *options))


@pytest.mark.parametrize("known", [False, True], ids=["from the references", "kept in the bulk"])
def test_the_window_is_narrowed_by_the_bulks_of_the_store(query, records, tmp_path, known):
    path = fill(records, tmp_path / "s.sqlite", known=known, references=() if known else ("Mg", "Ag"))
    found = lines_of(query, path)
    assert len(found) == 5
    for line in found:
        assert line["stable_window"] == pytest.approx([-0.50, -0.06])
        assert line["stable_limits"] == ["MgAg3", "Mg3Ag"]
        assert line["competing_phases"] == ["Mg3Ag", "MgAg3"]
        assert line["stable_method"].startswith("gpaw-demo-")
        assert line["energy_above_hull"] == 0.0
    mg = next(line for line in found if line["miller_index"] == [1, 0, 0] and line["termination"] == 0)
    # gamma(0) = 0.0364, gamma(-0.6) = 0.0591: a straight line
    slope = (0.0364 - 0.0591) / 0.6
    assert mg["stable_surface_energies"] == pytest.approx([0.0364 - 0.50 * slope, 0.0364 - 0.06 * slope])
    assert mg["surface_energy"] == 0.0364  # the label stays that against hcp Mg


def test_without_other_phases_it_is_the_whole_window(query, records, tmp_path):
    line = lines_of(query, fill(records, tmp_path / "s.sqlite", names=()))[0]
    assert line["stable_window"] == pytest.approx([-0.60, 0.0])
    assert line["stable_surface_energies"] == pytest.approx(
        [line["surface_energy_x_rich"], line["surface_energy"]]
    )


def test_phases_of_another_method_do_not_count(query, records, tmp_path):
    path = fill(records, tmp_path / "s.sqlite", names=("Mg3Ag",))
    other = records.METHOD.model_copy(update={"preset": "production", "cutoff": 480.0})
    with open_store(f"sqlite:///{path}") as store:
        store.add([reference(records, element, other) for element in MU0])
        store.add(bulk_of(records, "MgAg3", *PHASES["MgAg3"], method=other))
    assert lines_of(query, path)[0]["stable_limits"] == ["Ag", "Mg3Ag"]


def test_above_the_hull_there_is_no_window_but_what_it_decomposes_into(query, records, tmp_path):
    path = fill(records, tmp_path / "s.sqlite", target=-0.20)
    line = lines_of(query, path)[0]
    assert line["stable_window"] is None and line["stable_surface_energies"] is None
    assert line["energy_above_hull"] == pytest.approx(0.09)
    assert line["decomposition"] == pytest.approx({"Mg3Ag": 0.5, "MgAg3": 0.5})
    text = " ".join(query(path, "--formula", "MgAg").split())
    assert "MgAg is 0.0900 eV/atom above the hull: it decomposes into Mg3Ag + MgAg3" in text


def test_the_table_shows_window_and_gamma_and_says_where_they_come_from(mgsurf, records, tmp_path):
    path = fill(records, tmp_path / "s.sqlite")
    for width in (80, 120):
        done = mgsurf("query", "--store", path, "--stable-window", env={"COLUMNS": str(width)})
        assert (done.returncode, done.stderr) == (0, "")
        assert max(map(len, done.stdout.splitlines())) <= width
        text = " ".join(done.stdout.split())
        assert "−0.500 −0.060" in text
        assert "(MgAg3 forms below)" in text and "(Mg3Ag forms above), of −0.600 to 0" in text
        assert "Mg is an element: it has no window" in text
    assert "J/m²" in done.stdout


def test_csv_has_a_column_for_each_end(query, records, tmp_path):
    path = fill(records, tmp_path / "s.sqlite")
    text = query(path, "--csv", "--formula", "MgAg")
    first = next(csv.DictReader(io.StringIO(text)))
    assert float(first["stable_window_from"]) == pytest.approx(-0.5)
    assert (first["stable_limit_from"], first["stable_limit_to"]) == ("MgAg3", "Mg3Ag")
    assert float(first["stable_surface_energy_to"]) > 0
    assert query(path, "--csv", "--formula", "Mg2Ni") == text.splitlines()[0] + "\n"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"references": ("Mg",)}, "the reference of Ag by gpaw-demo-"),
        ({"references": ()}, "the reference of Ag, Mg by gpaw-demo-"),
    ],
)
def test_a_missing_reference_is_named(query, records, tmp_path, options, reason):
    line = lines_of(query, fill(records, tmp_path / "s.sqlite", **options))[0]
    assert line["stable_window"] is None and line["energy_above_hull"] is None
    assert reason in line["stable_reason"] and "\n" not in line["stable_reason"]


def test_the_option_alone_loads_nothing_that_draws(environment, records, tmp_path):
    import subprocess
    import sys

    path = fill(records, tmp_path / "s.sqlite")
    script = (
        "import sys, workflows.cli.app as app\n"
        f"app.app(['query', '--store', {str(path)!r}, '--stable-window'], standalone_mode=False)\n"
        "sys.exit(bool({'matplotlib', 'plotly', 'torch'} & {n.split('.')[0] for n in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr


def lock_file(path, values, structures=None, **more):
    """A lock file with phases by formula and space group; energies per atom by method."""
    from stores.records import Provenance, content_hash
    from workflows.flows.enumeration.lock_file import dump_lock, write_lock
    from workflows.flows.enumeration.lock_model import LockedCompound, LockFile
    from workflows.structures.sources.protocol import DatabaseValues

    shapes = structures or {}
    compounds = []
    for i, ((formula, number, *_), energies) in enumerate(values.items()):
        elements = [element for element, n in Composition(formula).items() for _ in range(round(n))]
        crystal = shapes.get(i) or Structure(
            Lattice.cubic(9.0), elements, [[0.2 * k] * 3 for k in range(len(elements))]
        )
        compounds.append(
            LockedCompound(
                label=f"{formula} {number}" + (f" oqmd-{i}" if shapes else ""),
                formula=formula,
                spacegroup_number=number,
                spacegroup_symbol="Pm-3m",
                n_atoms=len(crystal),
                provenance=Provenance(source="oqmd", identifiers=[f"oqmd-{i}"]),
                values=[DatabaseValues(m, e) for m, e in energies.items()],
                slabs={"(100)": 2},
                lattice=crystal.lattice.matrix.tolist(),
                sites=[(site.specie.symbol, *map(float, site.frac_coords)) for site in crystal],
            )
        )
    fields = {"sections": {}, "competing": []} | more
    made_from = content_hash(fields["sections"])
    lock = LockFile(mgsurf="1", made_from=made_from, slab_settings={}, compounds=compounds, **fields)
    write_lock(dump_lock(lock), path)
    return path


def test_a_database_in_a_lock_file_may_decide_instead(query, refused_here, records, tmp_path):
    store = fill(records, tmp_path / "s.sqlite", names=())
    lock = lock_file(
        tmp_path / "mg.lock.json",
        {
            ("MgAg", 221): {"oqmd": -0.25, "mp GGA_GGA+U": -0.2},
            ("MgAg3", 221): {"oqmd": -0.15},
            ("Mg3Ag", 225): {"mp GGA_GGA+U": -0.1},
            ("MgAg", 62): {"oqmd": -0.1},
        },
    )
    line = lines_of(query, store, "--phases", lock, "--phases-method", "oqmd")[0]
    # MgAg3 has -0.6 per formula unit: dmu + 3 (-0.5 - dmu) <= -0.6
    assert line["stable_window"] == pytest.approx([-0.45, 0.0])
    assert line["stable_limits"] == ["MgAg3 221", "Mg"]
    assert line["stable_method"] == "oqmd"
    message = refused_here("query", "--store", store, "--phases", lock)
    assert "'mp GGA_GGA+U' (2 compounds), 'oqmd' (3 compounds) cannot meet in one hull" in message
    assert "--phases-method" in message
    message = refused_here("query", "--store", store, "--phases", lock, "--phases-method", "aflow")
    assert "'aflow'" in message
    assert "--phases" in refused_here("query", "--store", store, "--phases-method", "oqmd")
    mg = query(store, "--phases", lock, "--phases-method", "oqmd", "--json", "--formula", "Mg")
    assert "element" in json.loads(mg)[0]["stable_reason"]
    missing = lock_file(tmp_path / "other.lock.json", {("MgAg", 62): {"oqmd": -0.1}})
    line = lines_of(query, store, "--phases", missing)[0]
    assert "MgAg (space group 221) has no energy in" in line["stable_reason"]


def test_phases_that_filters_refused_bound_the_window(query, records, tmp_path):
    store = fill(records, tmp_path / "s.sqlite", names=())
    competing = [("MgAg3", -0.15, "oqmd", "oqmd-9"), ("MgAg3", -0.9, "mp GGA", "mp-9")]
    path = lock_file(tmp_path / "mg.lock.json", {("MgAg", 221): {"oqmd": -0.25}}, competing=competing)
    line = lines_of(query, store, "--phases", path)[0]
    assert line["stable_window"] == pytest.approx([-0.45, 0.0])
    assert line["stable_limits"] == ["MgAg3 oqmd-9", "Mg"]
    assert line["competing_phases"] == ["MgAg3 oqmd-9"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"lock_version": 1}, "written before refused phases were kept, so that windows may be too wide; "),
        (
            {"sections": {"filters": {"max_atoms": 30}}},
            "not all phases of more than 30 atoms were requested; windows may be too wide",
        ),
        (
            {"left_out": ["mp: cannot be reached", "oqmd: answered 500, 3 times"]},
            "its sources did not deliver everything (mp: cannot be reached; 1 more in left_out there); "
            "windows may be too wide",
        ),
    ],
)
def test_what_a_lock_file_cannot_know_is_told(records, tmp_path, capsys, more, words):
    store = fill(records, tmp_path / "s.sqlite", names=())
    path = lock_file(tmp_path / "mg.lock.json", {("MgAg", 221): {"oqmd": -0.25}}, **more)
    command = ["query", "--store", str(store), "--stable-window", "--phases", str(path)]
    assert app(command, standalone_mode=False) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mgsurf: {path}: {words}")


def test_polymorphs_of_one_space_group_are_told_apart_by_their_structure(query, records, tmp_path):
    store = fill(records, tmp_path / "s.sqlite", names=())
    b2 = Structure(Lattice.cubic(3.32), ["Ag", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = Structure(  # also Pm-3m, lower in energy
        Lattice.cubic(5.2),
        [*["Mg"] * 3, *["Ag"] * 3],
        [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]],
    )
    energies = {("MgAg", 221, 0): {"oqmd": -0.2500}, ("MgAg", 221, 1): {"oqmd": -0.2505}}
    found = lock_file(tmp_path / "a.lock.json", energies, {0: b2, 1: other})
    assert lines_of(query, store, "--phases", found)[0]["stable_window"] == pytest.approx([-0.5, 0.0])
    for structures, words in (({0: other, 1: other}, "that of 0"), ({0: b2, 1: b2}, "that of 2")):
        found = lock_file(tmp_path / "b.lock.json", energies, structures)
        line = lines_of(query, store, "--phases", found)[0]
        assert line["stable_window"] is None
        assert line["stable_reason"] == (
            f"MgAg (space group 221) may be each of MgAg 221 oqmd-0, MgAg 221 oqmd-1 in {found} by oqmd: "
            f"its structure is {words}"
        )


def test_a_crystal_without_an_energy_never_gets_that_of_a_polymorph(query, records, tmp_path):
    store = fill(records, tmp_path / "s.sqlite", names=())
    b2 = Structure(Lattice.cubic(3.32), ["Ag", "Mg"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    other = Structure(Lattice.cubic(5.2), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    energies = {("MgAg", 221, 0): {"mp": -0.3}, ("MgAg", 221, 1): {"oqmd": -0.25}}
    found = lock_file(tmp_path / "a.lock.json", energies, {0: b2, 1: other})
    line = lines_of(query, store, "--phases", found, "--phases-method", "oqmd")[0]
    assert line["stable_window"] is None
    assert line["stable_reason"] == f"MgAg 221 oqmd-0 has no energy in {found} by oqmd"
    line = lines_of(query, store, "--phases", found, "--phases-method", "mp")[0]
    assert line["stable_window"] == pytest.approx([-0.6, 0.0])


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no such lock file"), ("{", "damaged"), ("{}", "damaged")]
)
def test_a_lock_file_that_cannot_be_used_gets_one_line(refused_here, records, tmp_path, content, words):
    store, lock = fill(records, tmp_path / "s.sqlite"), tmp_path / "mg.lock.json"
    if content is not None:
        lock.write_text(content)
    assert words in refused_here("query", "--store", store, "--phases", lock)


def test_a_lock_file_without_energies_gets_one_line(refused_here, records, tmp_path):
    store = fill(records, tmp_path / "s.sqlite")
    lock = lock_file(tmp_path / "mg.lock.json", {("MgAg", 221): {}})
    assert "no formation energy in it" in refused_here("query", "--store", store, "--phases", lock)


def test_the_phase_figure_shades_it(refused_here, records, tmp_path):
    store, image = fill(records, tmp_path / "s.sqlite"), tmp_path / "phase.png"
    arguments = ["plot", "phase", "--store", str(store), "--formula", "MgAg", "-o", str(image)]
    assert app(arguments, standalone_mode=False) == 0
    assert image.stat().st_size > 10_000
    assert "plot phase" in refused_here("plot", "scatter", "--store", store, "--phases", "mg.lock.json")
