"""jobflow on every kind of store; SQLiteStore as any maggma store."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, OutputReference, Response, job, run_locally
from maggma.core import StoreError as MaggmaStoreError
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder

from stores.backends.job_store import SQLiteStore, check_names
from stores.connections import open_job_store
from stores.errors import StoreError


@job(data="values")
def count_to(number: int) -> dict[str, Any]:
    return {"number": number, "values": list(range(number))}


@job
def add_up(results: list[dict[str, Any]]) -> int:
    return sum(sum(result["values"]) for result in results)


@job
def spread(number: int) -> Response[Any]:
    jobs = [count_to(n) for n in range(number)]
    total = add_up([one.output for one in jobs])
    return Response(replace=Flow([*jobs, total], output=total.output))


@pytest.fixture
def job_store(store_uri: str) -> Iterator[JobStore]:
    if store_uri.startswith("folder:"):
        pytest.skip("holds records, no jobs")
    store = open_job_store(store_uri)
    yield store
    store.close()


def test_dynamic_flow(job_store: JobStore, store_uri: str, tmp_path: Path) -> None:
    flow = Flow([spread(4)])
    uuid = flow.jobs[0].uuid
    run_locally(flow, store=job_store, create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    again = open_job_store(store_uri)  # the outputs stay
    assert again.get_output(uuid) == 0 + 0 + 1 + 3
    assert again.count() == 7  # spread, what it was replaced by, 4 of count_to, add_up
    (counted,) = again.query({"name": "count_to", "output.number": 3}, load=True)
    assert counted["output"]["values"] == [0, 1, 2]
    (unloaded,) = again.query({"name": "count_to", "output.number": 3})
    assert "blob_uuid" in unloaded["output"]["values"]
    again.close()


def test_same_job_with_two_indexes(job_store: JobStore) -> None:
    for index in (1, 2, 2):
        job_store.update({"uuid": "u", "index": index, "output": index, "name": "x"})
    assert job_store.count() == 2
    assert [doc["output"] for doc in job_store.query({"uuid": "u"}, sort={"index": -1})] == [2, 1]
    assert job_store.get_output("u") == 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(str(tmp_path / "s.sqlite"), "things", key="name", indexed=["size"]) as opened:
        yield opened


@pytest.fixture
def reference() -> Iterator[MemoryStore]:
    with MemoryStore("things", key="name") as opened:
        yield opened


DOCS = [
    {"name": f"thing-{n}", "size": n % 3, "tags": ["a", str(n)], "inner": {"even": n % 2 == 0}}
    for n in range(9)
]


def test_agrees_with_memory_store(store: SQLiteStore, reference: MemoryStore) -> None:
    for one in (store, reference):
        one.update([dict(doc) for doc in DOCS])
        one.update({"name": "thing-0", "size": 7, "inner": {}})
        one.remove_docs({"tags": "8"})
        assert one.ensure_index("inner.even")

    def plain(docs: Any) -> list[Any]:
        return sorted(({k: v for k, v in doc.items() if k != "_id"} for doc in docs), key=lambda d: d["name"])

    for criteria in (None, {}, {"size": 1}, {"inner.even": True}, {"tags": "3"}, {"size": {"$gte": 2}}):
        assert plain(store.query(criteria)) == plain(reference.query(criteria))
        assert store.count(criteria) == reference.count(criteria)
        assert sorted(store.distinct("size", criteria)) == sorted(reference.distinct("size", criteria))
        ours = {str(key): plain(group) for key, group in store.groupby("size", criteria)}
        theirs = {
            str(key): plain(group)
            for key, group in reference.groupby("size", criteria, properties=list(DOCS[0]))
        }
        assert ours == theirs
    groups = [(key, len(group)) for key, group in store.groupby(["size", "inner.even"], properties=["name"])]
    assert ({"size": 1, "inner": {"even": False}}, 2) in groups
    assert store.query_one({"name": "thing-3"}, ["size"]) == {"size": 0}


def test_serialises(store: SQLiteStore) -> None:
    store.update(DOCS)
    for copy in (
        SQLiteStore.from_dict(store.as_dict()),
        MontyDecoder().decode(MontyEncoder().encode(store)),
        pickle.loads(pickle.dumps(store)),
    ):
        assert copy == store and hash(copy) == hash(store) and copy.name == store.name
        assert copy.indexed == ["size"] and copy.key == "name"
        with copy:
            assert copy.count({"size": 1}) == 3
    job_store = JobStore(store, additional_stores={"data": SQLiteStore(store.path, "blobs")})
    copied = JobStore.from_dict(job_store.as_dict())
    assert copied.docs_store == store
    assert copied.additional_stores["data"] == job_store.additional_stores["data"]


def test_path_does_not_follow_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("here.sqlite")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with store:
        store.update({"task_id": 1})
    assert (tmp_path / "here.sqlite").exists()


def test_needs_connecting(tmp_path: Path) -> None:
    with pytest.raises(MaggmaStoreError, match="Connect the store"):
        SQLiteStore(str(tmp_path / "x.sqlite")).count()


def test_last_updated_and_newer_in(tmp_path: Path) -> None:
    old, new = (SQLiteStore(str(tmp_path / "t.sqlite"), name, key="name") for name in ("old", "new"))
    with old, new:
        early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        old.update([{"name": "a", "last_updated": early}, {"name": "b", "last_updated": early}])
        new.update([{"name": "a", "last_updated": late}, {"name": "b", "last_updated": early}])
        assert old.last_updated == early and new.last_updated == late
        assert old.newer_in(new) == ["a"]


def test_msonable_objects_are_stored_as_dicts(store: SQLiteStore) -> None:
    from pymatgen.core import Lattice

    store.update({"name": "cell", "lattice": Lattice.cubic(3.3), "_id": "mongo's"})
    found = store.query_one({"name": "cell"})
    assert "_id" not in found
    assert Lattice.from_dict(found["lattice"]) == Lattice.cubic(3.3)


def _known() -> list[Any]:
    from monty.json import jsanitize
    from pymatgen.core import Lattice, Structure

    from workflows.analysis.verdicts import VerdictThresholds
    from workflows.flows.surface import SurfaceMaker
    from workflows.jobs.context import RunContext

    crystal = Structure(Lattice.cubic(3.3), ["Mg", "Ag"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    maker = SurfaceMaker(RunContext("memory://x", "/tmp"), thresholds=VerdictThresholds())
    values = [crystal, maker, count_to_output(), datetime(2026, 1, 2, tzinfo=UTC), np.arange(3.0), Path("/a")]
    return [jsanitize(value, strict=True, allow_bson=False) for value in values] + [
        {"@module": "workflows.jobs.bulk", "@callable": "relax_bulk"},
        {"@module": "only", "note": "monty leaves it as it is"},
        {"@module": "os", "@class": None, "@callable": "this one too"},
        {"@module": "", "@class": "", "blob_uuid": "this one too"},
    ]


def count_to_output() -> Any:
    return count_to(2).output


@pytest.mark.parametrize("number", range(10))
def test_documents_with_mgsurf_own_classes_are_read(number: int) -> None:
    check_names({"output": [_known()[number]]}, "here")


@pytest.mark.parametrize(
    "value",
    [
        {"@module": "this", "@class": "Zen"},
        {"@module": "antigravity", "@callable": "geohash"},
        {"@module": "os", "@callable": "system"},
        {"@module": "os", "@class": "system"},
        {"@module": "posix", "@callable": "system"},
        {"@module": "builtins", "@callable": "eval"},
        {"@module": "subprocess", "@class": "Popen", "args": "false"},
        {"@module": "numpy.ctypeslib", "@class": "array"},
        {"@module": "numpy", "@callable": "array"},
        {"@module": "workflows_evil", "@class": "X"},
        {"@module": "workflows.cli.app", "@callable": "os.system"},
        {"@module": "workflows.cli.app", "@class": "os"},
        {"@module": "stores.backends.sqlite_file", "@callable": "sqlite3.connect"},
        {"@module": "workflows.no_such_module", "@class": "X"},
        {"@module": "workflows..errors", "@class": "X"},
        {"@module": ".this", "@class": "X"},
        {"@module": ["os"], "@class": "X"},
        {
            "@module": "jobflow.core.job",
            "@class": "Job",
            "function": {"@module": "os", "@callable": "system"},
        },
        {"@module": "workflows.jobs.bulk", "@callable": "x.y", "@bound": {"@module": "this", "@class": "X"}},
    ],
)
def test_documents_that_name_other_code_are_refused(value: dict[str, Any]) -> None:
    before = set(sys.modules)
    for document in (value, {"a": {"b": [[0.5], [{"c": value}]]}}):
        with pytest.raises(StoreError) as raised:
            check_names(document, "here")
        assert "\n" not in str(raised.value)
    assert not {"this", "antigravity", "numpy.ctypeslib"} & (set(sys.modules) - before)


@pytest.mark.parametrize("module", ["this", "antigravity"])
def test_a_job_store_gives_no_document_that_names_other_code(job_store: JobStore, module: str) -> None:
    plain = {"uuid": "u", "index": 1, "name": "x", "output": {"a": [{"@module": module, "@class": "X"}]}}
    job_store.docs_store.update([plain], key=["uuid", "index"])
    for read in (
        lambda: job_store.get_output("u"),
        lambda: job_store.get_output("u", which="all", load=True),
        lambda: job_store.query_one({"uuid": "u"}),
        lambda: list(job_store.query({}, load=True)),
        lambda: OutputReference("u").resolve(job_store),
    ):
        with pytest.raises(StoreError, match=module):
            read()
    assert module not in sys.modules


def test_data_kept_apart_is_checked_too(job_store: JobStore) -> None:
    job_store.update(
        {"uuid": "u", "index": 1, "name": "x", "output": {"values": [{"@module": "this", "@class": "X"}]}},
        save={"data": "values"},
    )
    job_store.get_output("u")  # only a reference to it
    with pytest.raises(StoreError, match="'this'"):
        job_store.get_output("u", load=True)
    assert "this" not in sys.modules
