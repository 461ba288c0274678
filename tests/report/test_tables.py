import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from workflows.report.tables import ROW_FIELDS, flat_rows, rows, surface_table


def printed(records, width, **options):
    output = StringIO()
    Console(width=width, file=output).print(surface_table(records, **options))
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_number_is_readable_at_every_width(campaign, width):
    text = printed(campaign, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    # 0.0778 * 16.02177 = 1.24649
    for value in ("0.0364", "0.0778", "3.378", "4.304", "-0.0040", "(10-10)", "(0001)"):
        assert value in text
    if width >= 100:
        assert "0.583" in text and "1.246" in text
    words = text.split()
    for word in ("accepted", "failed", "vacuum", "negative", "reconstructed"):
        assert word in words


@pytest.mark.parametrize("width", [80, 100, 140])
def test_reasons_are_given_once(campaign, width):
    text = " ".join(printed(campaign, width).split())
    assert text.count("0.71 nearest-neighbour distances") == 1
    assert text.count("out of memory") == 1
    assert "Φ top vacuum slopes by 0.0200 eV/A" in text
    assert "γ surface energy -0.0040" in text


def test_a_reason_that_many_facets_share_is_one_note(mgag):
    for record in mgag:
        record["verdicts"]["work_function"] = {"status": "failed", "reason": "no electrons"}
    assert surface_table(mgag[:1]).notes == ["MgAg (100) Mg: Φ no electrons"]
    assert surface_table(mgag).notes == [f"MgAg (100) Mg and {len(mgag) - 1} others: Φ no electrons"]
    assert surface_table(mgag[:2]).notes[0].endswith("and 1 other: Φ no electrons")


def test_each_facet_has_one_line_at_80_columns(laves):
    text = printed(laves, 80)
    lines = [line for line in text.splitlines() if " accepted" in line]
    assert len(lines) == 36
    assert sum("MgZn2" in line for line in lines) == 1  # the compound is named once


def test_sorted_or_in_the_order_of_the_query(mgag):
    backwards = list(reversed(mgag))
    assert printed(backwards, 100) == printed(mgag, 100)
    assert printed(backwards, 100, sort=False).index("(111)") < printed(backwards, 100, sort=False).index(
        "(100)"
    )


def test_several_methods_are_told_apart(mgag):
    assert "method" not in printed(mgag, 100)
    for record in mgag:
        del record["method"]  # the command line does not read it
        record["method_fingerprint"] = "gpaw-demo-a1b2c3d4"
    mgag[0]["method_fingerprint"] = "gpaw-production-0123456789abcdef"
    text = printed(mgag, 100)
    assert "gpaw-production " in text and "gpaw-demo " in text
    mgag[1]["method_fingerprint"] = "gpaw-demo-a1b2c9d4"
    text = printed(mgag, 100)
    assert "gpaw-demo-a1b2c9 " in text and "gpaw-demo-a1b2c3 " in text


def test_rows_have_the_promised_keys_and_values(mgag):
    first = rows(mgag)[0]
    assert tuple(first) == ROW_FIELDS
    assert first["miller_index"] == [1, 0, 0]
    assert first["surface_energy"] == 0.0364
    assert first["verdicts"]["surface_energy"]["status"] == "accepted"
    assert rows([]) == []


def test_csv_rows_are_flat(campaign):
    flat = flat_rows(campaign)
    assert all(not isinstance(value, dict | list) for row in flat for value in row.values())
    assert flat[0]["miller_index"] == "0 0 1"
    assert flat[-1]["surface_energy_verdict"] == "negative"
    assert flat[-1]["work_function_verdict"] == "accepted"


def test_table_loads_nothing_heavy():
    code = (
        "import sys; from workflows.report.tables import surface_table; surface_table([]);"
        "print([m for m in ('numpy', 'pymatgen', 'matplotlib', 'pydantic', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def without_mg(make_record):
    return [
        make_record("AlNi", "Al-Ni", label="Al") | {"reference_element": "Al"},
        make_record("Al", "Al", label="Al", spacegroup=225),
    ]


def test_the_rich_end_is_named_by_the_element_whose_potential_varies(make_record, mgag):
    alone = printed(without_mg(make_record), 80)
    assert "Al-rich" in alone and "Mg-rich" not in alone
    mixed = " ".join(printed([*without_mg(make_record), *mgag], 80).split())
    assert "A-rich" in mixed and "A is Mg; without Mg: Al of AlNi" in mixed
    assert "Mg-rich" in printed(mgag, 80)
    elements = printed(without_mg(make_record)[1:], 80)
    assert "rich" not in elements and "0.0364" in elements


def test_rows_name_the_element_in_which_a_binary_is_rich(make_record, mgag):
    found = rows([*without_mg(make_record), mgag[0]])
    assert [row["reference_element"] for row in found] == ["Al", None, "Mg"]
