"""A published data set is read back to the same snapshot, or refused as a whole."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil

import pytest

from model.data.importers import import_slabs
from stores.connections import open_store
from stores.errors import InputError
from stores.learning.snapshots import create_snapshot, find_snapshot, snapshot_items
from tests.publication.conftest import TERMS
from workflows.publication.publish import publish

pq = pytest.importorskip("pyarrow.parquet")
KINDS = ("surfaces", "labels", "both", "compositions")


def documents(store, kind):
    return {one["id"]: one for one in store.query({}, collection=kind)}


@pytest.fixture
def copy(published, tmp_path):
    """A copy of the data set of computed surfaces."""
    return shutil.copytree(published["surfaces"], tmp_path / "dataset")


def stated_again(folder, name):
    """Write the checksum of a changed file, as one would who forges it."""
    path = folder / "SHA256SUMS"
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    path.write_text(re.sub(rf"^\S+  {re.escape(name)}$", f"{digest}  {name}", path.read_text(), flags=re.M))


@pytest.mark.parametrize("kind", KINDS)
def test_the_snapshot_and_its_records_come_back(stored, published, kind, tmp_path):
    uri = f"sqlite:///{tmp_path / 'b.sqlite'}"
    result = import_slabs(str(published[kind]), uri)
    assert (result.format, result.problems) == ("publication", [])
    name = stored[kind].snapshot
    with open_store(stored[kind].uri) as old, open_store(uri) as new:
        one, two = find_snapshot(old, name), find_snapshot(new, name)
        assert one == two
        assert list(snapshot_items(old, one)) == list(snapshot_items(new, two))
        assert result.n_read == one.n_records
        members = {record for record, _ in one.records}
        for collection in ("labels", "bulks"):
            assert documents(new, collection) == documents(old, collection)
        surfaces = documents(new, "surfaces")
        expected = {key: one for key, one in documents(old, "surfaces").items() if key in members}
        assert surfaces.keys() == expected.keys()
        assert all(surfaces[key] == expected[key] for key in surfaces if key != "half")  # its path is cut
        assert create_snapshot(new, separate=kind == "both").id == name
    again = import_slabs(str(published[kind]), uri)
    assert again.n_changed == 0


@pytest.mark.parametrize("kind", ["sqlite", "folder", "memory"])
def test_what_was_imported_is_published_again_to_the_same_bytes(stored, published, kind, tmp_path):
    uri = {"sqlite": f"sqlite:///{tmp_path / 'b.sqlite'}", "folder": f"folder://{tmp_path / 'b'}"}.get(
        kind, f"memory://{tmp_path.name}"
    )
    import_slabs(str(published["labels"]), uri)
    with open_store(uri) as store:
        publish(store, stored["labels"].snapshot, tmp_path / "again", TERMS)
    names = sorted(p.relative_to(published["labels"]) for p in published["labels"].rglob("*") if p.is_file())
    assert (
        sorted(p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file())
        == names
    )
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (published["labels"] / name).read_bytes(), name


@pytest.mark.parametrize("name", ["data.parquet", "records.jsonl.gz", "SHA256SUMS"])
def test_a_damaged_file_is_refused_before_anything_is_written(copy, name, tmp_path):
    content = bytearray((copy / name).read_bytes())
    content[0 if name == "SHA256SUMS" else len(content) // 2] ^= 1
    if name == "SHA256SUMS":
        content = bytearray(b"\xff\xfe")
    (copy / name).write_bytes(content)
    uri = f"sqlite:///{tmp_path / 'b.sqlite'}"
    with pytest.raises(InputError, match="download"):
        import_slabs(str(copy), uri)
    assert not (tmp_path / "b.sqlite").exists()


def test_a_changed_value_is_noticed_though_its_checksum_was_changed_too(copy, tmp_path):
    table = pq.read_table(copy / "data.parquet")
    place = table.schema.get_field_index("work_function")
    table = table.set_column(place, table.schema.field(place), [[9.9] * table.num_rows])
    pq.write_table(table, copy / "data.parquet")
    stated_again(copy, "data.parquet")
    with pytest.raises(InputError, match="other data than the snapshot"):
        import_slabs(str(copy), f"sqlite:///{tmp_path / 'b.sqlite'}")
    assert not (tmp_path / "b.sqlite").exists()


@pytest.mark.parametrize(
    argnames=("line", "word"),
    ids=("collection", "fields", "types", "depth", "text"),
    argvalues=[
        (b'{"collection": "leases", "record": {"id": "x"}}', "leases"),
        (b'{"collection": "labels", "record": {"id": "x"}}', "source"),
        (b'{"collection": ["labels"], "record": 1}', "line 1"),
        (b"[" * 101, "line 1"),
        (b"no JSON", "line 1"),
    ],
)
def test_a_line_that_is_no_record_is_reported_and_the_others_are_read(copy, line, word, tmp_path):
    good = gzip.decompress((copy / "records.jsonl.gz").read_bytes())
    (copy / "records.jsonl.gz").write_bytes(gzip.compress(line + b"\n" + good))
    stated_again(copy, "records.jsonl.gz")
    uri = f"sqlite:///{tmp_path / 'b.sqlite'}"
    result = import_slabs(str(copy), uri)
    (problem,) = result.problems
    assert word in problem and "\n" not in problem
    with open_store(uri) as store:
        assert store.count() == len([one for one in good.splitlines() if b'"collection":"surfaces"' in one])


def nan(rows, header):
    rows[0]["work_function"] = float("nan")


def impossible(rows, header):
    rows[0]["work_function"] = 99.0


def one_atom_more(rows, header):
    rows[0]["species"].append("Mg")


def no_counts(rows, header):
    rows[0]["composition"] = "5"


def twice(rows, header):
    rows.append(rows[0])


def no_time(rows, header):
    header["created_at"] = "../../x"


def column_missing(rows, header):
    header["columns"].pop()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (nan, "finite"),
        (impossible, "99 eV"),
        (one_atom_more, "atoms"),
        (no_counts, "composition"),
        (twice, "twice"),
        (no_time, "no header"),
        (column_missing, "columns"),
    ],
)
def test_what_no_snapshot_holds_is_refused_though_the_hash_fits(copy, change, word, tmp_path, monkeypatch):
    table = pq.read_table(copy / "data.parquet")
    rows, header = table.to_pylist(), json.loads(table.schema.metadata[b"mgsurf_snapshot"])
    change(rows, header)
    header["n_records"] = len(rows)
    table = type(table).from_pylist(rows, table.schema)
    pq.write_table(
        table.replace_schema_metadata({b"mgsurf_snapshot": json.dumps(header)}), copy / "data.parquet"
    )
    stated_again(copy, "data.parquet")
    monkeypatch.setattr("stores.learning.snapshot_rows.snapshot_id", lambda *content: header["id"])
    with pytest.raises(InputError, match=word) as error:
        import_slabs(str(copy), f"sqlite:///{tmp_path / 'b.sqlite'}")
    assert "\n" not in str(error.value) and "pydantic" not in str(error.value)
    assert not (tmp_path / "b.sqlite").exists()


def test_a_data_set_of_a_newer_mgsurf_is_refused(copy, tmp_path):
    table = pq.read_table(copy / "data.parquet")
    header = json.loads(table.schema.metadata[b"mgsurf_snapshot"]) | {"schema_version": 99}
    metadata = table.schema.metadata | {b"mgsurf_snapshot": json.dumps(header).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), copy / "data.parquet")
    stated_again(copy, "data.parquet")
    with pytest.raises(InputError, match="newer mgsurf"):
        import_slabs(str(copy), f"sqlite:///{tmp_path / 'b.sqlite'}")


def test_options_of_other_formats_are_refused(copy, tmp_path):
    with pytest.raises(InputError, match="--source"):
        import_slabs(str(copy), f"sqlite:///{tmp_path / 'b.sqlite'}", source="mine")
