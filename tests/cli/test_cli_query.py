from __future__ import annotations

import csv
import io
import json

import pytest

from stores.connections import open_store
from workflows.cli.app import app, ending

REQUIRED = {
    "id",
    "formula",
    "chemsys",
    "miller_index",
    "termination",
    "surface_energy",
    "surface_energy_x_rich",
    "work_function",
    "verdicts",
}


@pytest.fixture
def query(filled, capsys):
    """Run `mgsurf query --json` in this process and return its records."""

    def run(*options):
        assert app(["query", "--store", str(filled), "--json", *options], standalone_mode=False) == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_json_has_the_promised_fields(query):
    found = query()
    assert len(found) == 8
    assert all(set(record) >= REQUIRED for record in found)
    mg_ag = next(r for r in found if r["formula"] == "MgAg" and r["termination_label"] == "Ag")
    assert mg_ag["verdicts"]["surface_energy"] == {"status": "accepted", "reason": ""}
    assert mg_ag["miller_index"] == [1, 0, 0]


def test_large_fields_are_not_in_the_json(query):
    assert not {"slab", "potential", "relaxed_slab"} & set(query()[0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--chemsys", "Mg-Ag"], 5),
        (["--chemsys", "Ag-Mg"], 5),
        (["--chemsys", "ag,mg"], 5),
        (["--chemsys", "Mg"], 3),
        (["--formula", "AgMg"], 5),
        (["--formula", "Mg2Ag2"], 5),
        (["--element", "Ag"], 5),
        (["--element", "A"], 0),
        (["--element", "Mg", "--element", "Ag"], 5),
        (["--miller", "110"], 1),
        (["--miller", "-1-10"], 1),
        (["--miller", "(10-10)", "--formula", "Mg"], 2),
        (["--miller", "1 0 0", "--formula", "Mg"], 2),
        (["--miller", "10-10", "--formula", "MgAg"], 0),  # cubic
        (["--miller", "0001"], 1),
        (["--termination", "Ag"], 2),
        (["--termination", "1"], 3),
        (["--termination", "²"], 0),
        (["--max-surface-energy", "0.0364"], 2),
        (["--max-surface-energy", "0.60", "--unit", "J/m2"], 2),
        (["--min-surface-energy", "0.05", "--max-surface-energy", "0.06"], 2),
        (["--min-work-function", "4"], 2),
        (["--max-work-function", "3.4"], 1),
        (["--verdict", "accepted"], 6),
        (["--verdict", "surface_energy=accepted"], 7),
        (["--verdict", "work-function=vacuum-not-flat"], 1),
        (["--verdict", "failed"], 1),
        (["--method", "gpaw-demo"], 8),
        (["--method", "vasp"], 0),
        (["--campaign", "quickstart"], 8),
        (["--campaign", "other"], 0),
        (["--since", "2026-01-07T12:00+00:00"], 1),
        (["--limit", "3"], 3),
        (["--filter", '{"n_atoms": {"$lt": 10}, "formula": "Mg"}'], 3),
        (["--filter", '{"surface_energy": {"$lt": 0.05}}', "--chemsys", "Mg-Ag"], 1),
    ],
)
def test_filters(query, options, expected):
    assert len(query(*options)) == expected


def test_sorting_puts_missing_values_last_in_both_directions(query):
    up = [record["surface_energy"] for record in query("--sort", "surface_energy")]
    down = [record["surface_energy"] for record in query("--sort", "-surface_energy")]
    assert up[-1] is None
    assert down[-1] is None
    assert up[:-1] == sorted(up[:-1])
    assert down[:-1] == up[-2::-1]
    assert [r["surface_energy"] for r in query("--sort", "surface_energy", "--limit", "2")] == up[:2]


def test_csv_has_one_line_per_record(mgsurf, filled):
    done = mgsurf("query", "--store", filled, "--csv", "--miller", "100", "--formula", "MgAg")
    lines = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {line["termination_label"] for line in lines} == {"Mg", "Ag"}
    assert lines[0]["miller_index"] == "1 0 0"
    assert {float(line["surface_energy"]) for line in lines} == {0.0364, 0.0778}
    assert {line["surface_energy_verdict"] for line in lines} == {"accepted"}


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_has_no_colour_codes_in_a_pipe(mgsurf, filled, width):
    done = mgsurf("query", "--store", filled, env={"COLUMNS": str(width)})
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b[" not in done.stdout
    assert "eV" in done.stdout
    assert "J/m²" in done.stdout
    assert "(10-10)" in done.stdout
    assert "4.304" in done.stdout


def test_a_long_table_is_cut_and_says_so_unless_a_limit_is_given(mgsurf, records, tmp_path):
    with open_store(f"sqlite:///{tmp_path}/long.sqlite") as store:
        store.add(records.surface(termination=i, label=f"T{i}", gamma=0.03 + 1e-4 * i) for i in range(130))
    done = mgsurf("query", "--store", "long.sqlite", "--sort", "surface_energy")
    assert sum(" T" in line for line in done.stdout.splitlines()) == 100
    assert done.stderr == "mgsurf: 100 of 130 surfaces shown; --limit 130, --json or --csv show all\n"
    done = mgsurf("query", "--store", "long.sqlite", "--limit", "130")
    assert sum(" T" in line for line in done.stdout.splitlines()) == 130
    assert done.stderr == ""
    assert len(json.loads(mgsurf("query", "--store", "long.sqlite", "--json").stdout)) == 130


def test_an_empty_result_says_what_was_asked_and_what_is_there(mgsurf, filled):
    done = mgsurf("query", "--store", filled, "--chemsys", "Mg-Zn", "--min-work-function", "4")
    assert done.returncode == 0
    assert done.stdout == ""
    assert "chemical system Mg-Zn, work function at least 4 eV" in done.stderr
    assert "holds 8 surfaces of Mg, MgAg" in done.stderr


def test_an_empty_result_is_still_json_and_csv(mgsurf, filled):
    done = mgsurf("query", "--store", filled, "--formula", "Mg2Ni", "--json")
    assert json.loads(done.stdout) == []
    done = mgsurf("query", "--store", filled, "--formula", "Mg2Ni", "--csv")
    assert done.stdout.startswith("id,formula,chemsys,")
    assert len(done.stdout.splitlines()) == 1


def test_a_locale_without_greek_letters_costs_these_letters_only(mgsurf, filled):
    plain = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = mgsurf("query", "--store", filled, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4.304" in done.stdout and "Mg-rich" in done.stdout and "-----" in done.stdout
    done = mgsurf("query", "--store", filled, "--termination", "γ", env=plain)
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)


def test_methods_of_one_store_are_named(mgsurf, records, tmp_path):
    surface = records.surface(termination=0)
    with open_store(f"sqlite:///{tmp_path}/two.sqlite") as store:
        store.add(
            [
                surface,
                surface.model_copy(
                    update={"id": "other", "method_fingerprint": "gpaw-production-0123456789abcdef"}
                ),
            ]
        )
    done = mgsurf("query", "--store", "two.sqlite")
    assert "gpaw-demo " in done.stdout and "gpaw-production " in done.stdout
    assert "? ?" not in done.stdout


def test_the_store_of_the_environment_is_used(mgsurf, filled):
    done = mgsurf("query", "--json", "--limit", "1", env={"MGSURF_STORE": f"sqlite:///{filled}"})
    assert len(json.loads(done.stdout)) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--verdict", "acepted"], "did you mean 'accepted'"),
        (["--verdict", "gamma=accepted"], "known are surface_energy and work_function"),
        (["--sort", "surface-energy"], "did you mean 'surface_energy'"),
        (["--miller", "200"], "a facet is named by (100)"),
        (["--miller", "xyz"], "cannot be read"),
        (["--filter", "{surface"], "not valid JSON at character 2"),
        (["--filter", "[1]"], "must be a JSON object"),
        (["--filter", '{"a": {"$foo": 1}}'], "$foo"),
        (["--since", "yesterday"], "write a date such as 2026-01-31"),
        (["--chemsys", "M4"], "no element symbol"),
        (["--formula", "mg"], "no formula"),
        (["--min-work-function", "5", "--max-work-function", "4"], "swap them"),
        (["--min-work-function", "four"], "valid number"),
        (["--json", "--csv"], "exclude each other"),
        (["--chemsy", "Mg"], "--chemsys"),
        (["--limit", "0"], "--limit"),
        (["--limit", "99999999999999999999"], "--limit"),
        (["--termination", "9" * 5000], "--termination"),
        (["--termination", "99999999999999999999"], "--termination"),
        (["--miller", f"{'9' * 5000} 0 1"], "--miller"),
        (["--miller", "99999999999999999999 0 1"], "--miller"),
        (["--formula", "Mg" + "9" * 400], "--formula"),
        (["--filter", f'{{"n_atoms": {"9" * 5000}}}'], "--filter"),
        (["--filter", '{"n_atoms": 18446744073709551616}'], "--filter"),
    ],
)
def test_bad_options_get_one_line(filled, options, words):
    with pytest.raises(Exception) as raised:
        app(["query", "--store", str(filled), *options], standalone_mode=False, prog_name="mgsurf")
    lines, code = ending(raised.value)
    assert code == 2
    assert len(lines) == 1
    assert words in lines[0]


@pytest.mark.parametrize("options", [["--verdict", "acepted"], ["--chemsy", "Mg"], ["--filter", "{"]])
def test_bad_options_end_the_process_with_status_2(refused, filled, options):
    assert options[0] in refused("query", "--store", filled, *options)
