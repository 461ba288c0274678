from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mongomock_ng.filtering import filter_applies

from stores.backends.filters import checked, predicate
from stores.backends.sqlite import DocumentTable
from stores.backends.sqlite_file import Database
from stores.errors import InputError
from tests.stores.opening import open_collection

NAMES = ("a", "b", "n.x", "n.y", "l.x")
# mongomock_ng takes 0 and False, 1 and True for equal, which MongoDB does not
numbers = st.one_of(st.integers(2, 5), st.sampled_from([2.0, 2.5, 3.0, -7.25]))
scalars = st.one_of(
    st.none(), st.booleans(), numbers, st.sampled_from(["", "Ag-Mg", "Mg", "[2,3]", "é", "zz"])
)
flat_lists = st.lists(scalars, max_size=3)
values = st.one_of(
    scalars, flat_lists, st.fixed_dictionaries({"x": numbers}), st.lists(flat_lists, max_size=2)
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "a": values,
        "b": values,
        "n": st.fixed_dictionaries({}, optional={"x": values, "y": scalars}),
        "l": st.lists(st.fixed_dictionaries({}, optional={"x": scalars}), max_size=3),
    },
)
comparable = st.one_of(numbers, st.sampled_from(["", "Mg", "f"]), st.booleans())
operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), values),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), comparable),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$regex"), st.sampled_from(["^M", "g$", "-", "é"])),
    st.tuples(st.just("$size"), st.integers(0, 3)),
    st.tuples(st.just("$all"), st.lists(scalars, min_size=1, max_size=2)),
    st.tuples(st.just("$elemMatch"), st.fixed_dictionaries({"$gt": numbers, "$lt": numbers})),
    st.tuples(st.just("$elemMatch"), st.fixed_dictionaries({"x": scalars})),
).map(lambda pair: {pair[0]: pair[1]})
conditions = st.one_of(
    values.filter(lambda value: not isinstance(value, dict)), operators, operators.map(lambda o: {"$not": o})
)
leaves = st.dictionaries(st.sampled_from(NAMES), conditions, min_size=1, max_size=2)
filters = st.recursive(
    leaves,
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=4,
)


def matches(criteria: dict[str, Any], document: dict[str, Any]) -> bool:
    return predicate(checked(criteria))(document)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[DocumentTable]:
    """Tables with every field in a column, with some, with none, and with fields kept apart."""
    path = Database(tmp_path_factory.mktemp("filters") / "filters.sqlite", durable=False)
    return [
        DocumentTable(path, "all", "id", NAMES),
        DocumentTable(path, "some", "id", ["a", "n.x"], heavy=["b", "l"]),
        DocumentTable(path, "none", "id"),
        DocumentTable(path, "apart", "id", ["a", "n.y", "l.x"], heavy=["a", "n"]),
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(documents, min_size=1, max_size=12), st.lists(filters, min_size=1, max_size=5))
def test_sql_agrees_with_python(
    tables: list[DocumentTable], docs: list[dict[str, Any]], criteria: list[dict[str, Any]]
) -> None:
    numbered = [{"id": number, **doc} for number, doc in enumerate(docs)]
    expected = [[doc["id"] for doc in numbered if matches(one, doc)] for one in criteria]
    with tables[0].database.write():  # all tables are in one file
        for table in tables:
            table.remove({})
            table.upsert(numbered)
            for one, ids in zip(criteria, expected, strict=True):
                found = [doc["id"] for doc in table.query(one, ["id"], sort={"id": 1})]
                assert found == ids, (table.name, one)
                assert table.count(one) == len(found)


plain_documents = st.fixed_dictionaries(
    {"n": st.fixed_dictionaries({}, optional={"x": scalars, "y": st.one_of(scalars, flat_lists)})},
    optional={"a": st.one_of(scalars, flat_lists), "b": scalars},
)


def _depends_on_mongomock(name: str, condition: Any) -> bool:
    """Where mongomock_ng departs from MongoDB's documentation."""
    if not isinstance(condition, dict):
        return False
    operator, operand = next(iter(condition.items()))
    if operator == "$not":
        return _depends_on_mongomock(name, operand)
    # a scalar equals a list of it alone
    if operator in ("$in", "$nin"):
        return any(isinstance(entry, list) and len(entry) == 1 for entry in operand)
    # $size of a scalar, of a missing field; $elemMatch on scalars
    return operator in ("$size", "$elemMatch")


mock_leaves = (
    st.tuples(st.sampled_from(["a", "b", "n.x", "n.y"]), conditions)
    .filter(lambda pair: not _depends_on_mongomock(*pair))
    .map(lambda pair: {pair[0]: pair[1]})
)
mock_filters = st.recursive(
    mock_leaves,
    lambda inner: st.tuples(
        st.sampled_from(["$and", "$or", "$nor"]), st.lists(inner, min_size=1, max_size=3)
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_leaves=3,
)


@settings(max_examples=400, deadline=None)
@given(plain_documents, mock_filters)
def test_python_agrees_with_mongomock(document: dict[str, Any], criteria: dict[str, Any]) -> None:
    assert matches(criteria, document) == bool(filter_applies(criteria, document))


@pytest.mark.parametrize(
    ("criteria", "document", "expected"),
    [
        # https://www.mongodb.com/docs/manual/tutorial/query-for-null-fields/
        ({"a": None}, {}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": [1, None]}, True),
        ({"a.b": None}, {"a": {}}, True),
        ({"a.b": None}, {"a": []}, False),
        ({"a": {"$exists": False}}, {"a": None}, False),
        ({"a": {"$exists": True}}, {"a": None}, True),
        ({"a": {"$ne": None}}, {}, False),
        ({"a": {"$lt": None}}, {}, False),
        ({"a": {"$gte": None}}, {}, True),
        # comparisons never cross types
        ({"a": {"$gt": 3}}, {"a": "x"}, False),
        ({"a": {"$lt": "x"}}, {"a": 3}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": {"$ne": 1}}, {"a": True}, True),
        ({"a": {"$lt": True}}, {"a": False}, True),
        # arrays: as a whole, by entry, by position
        ({"m": [1, 1, 0]}, {"m": [1, 1, 0]}, True),
        ({"m": [1, 1, 0]}, {"m": [1.0, 1.0, 0.0]}, True),
        ({"m": [1, 1, 0]}, {"m": [0, 1, 1]}, False),
        ({"m": [1, 1, 0]}, {"m": [[1, 1, 0], [2, 0, 0]]}, True),
        ({"m": (1, 1, 0)}, {"m": [1, 1, 0]}, True),
        ({"m": 1}, {"m": [1, 1, 0]}, True),
        ({"m": {"$ne": 1}}, {"m": [1, 1, 0]}, False),
        ({"m.2": 0}, {"m": [1, 1, 0]}, True),
        ({"m": {"$gt": 3, "$lt": 2}}, {"m": [1, 4]}, True),
        ({"m": {"$elemMatch": {"$gt": 3, "$lt": 2}}}, {"m": [1, 4]}, False),
        ({"m": {"$size": 3}}, {"m": [1, 1, 0]}, True),
        ({"m": {"$size": 1}}, {"m": 5}, False),
        ({"m": {"$all": [1, 0]}}, {"m": [1, 1, 0]}, True),
        ({"m": {"$all": []}}, {"m": [1]}, False),
        ({"m": {"$in": [[1, 1, 0], 7]}}, {"m": [1, 1, 0]}, True),
        ({"m": {"$in": [[1]]}}, {"m": 1}, False),
        ({"l.x": 2}, {"l": [{"x": 1}, {"x": 2}]}, True),
        ({"l": {"$elemMatch": {"x": 1, "y": 2}}}, {"l": [{"x": 1}, {"y": 2}]}, False),
        # text
        ({"a": {"$regex": "^mg", "$options": "i"}}, {"a": "MgAg"}, True),
        ({"a": re.compile("Ag$")}, {"a": "MgAg"}, True),
        ({"a": {"$in": [re.compile("^M"), "x"]}}, {"a": "MgAg"}, True),
        ({"a": {"$not": re.compile("^M")}}, {"a": "MgAg"}, False),
        # times are text that sorts
        ({"t": {"$gt": datetime(2026, 1, 1, tzinfo=UTC)}}, {"t": "2026-01-01T00:00:00.000001Z"}, True),
        ({"t": {"$gt": datetime(2026, 1, 1)}}, {"t": "2026-01-01T00:00:00.000000Z"}, False),
        ({"a": {"$gt": float("-inf"), "$lt": float("inf")}}, {"a": 3}, True),
        ({"a": {"$gte": float("-inf")}}, {"a": None}, False),
        ({"a": float("-inf")}, {"a": None}, False),
        ({"a": {"$ne": float("nan")}}, {"a": None}, True),
        ({"$comment": "why", "a": 1}, {"a": 1}, True),
    ],
)
def test_mongodb_rules(
    tables: list[DocumentTable],
    criteria: dict[str, Any],
    document: dict[str, Any],
    expected: bool,
    tmp_path: Path,
) -> None:
    assert matches(criteria, document) is expected
    fields = ["a", "m", "t", "a.b", "l.x", "m.2"]
    with_columns = DocumentTable(tmp_path / "rules.sqlite", "columns", "id", fields)
    without = DocumentTable(tmp_path / "rules.sqlite", "none", "id")
    for table in (with_columns, without):
        table.upsert({"id": 1, **document})
        assert table.count(criteria) == expected


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ({"a": {"$gtt": 1}}, "$gtt"),
        ({"$where": "1"}, "$where"),
        ({"$and": []}, "$and"),
        ({"$or": {"a": 1}}, "$or"),
        ({"a": {"$in": 3}}, "$in"),
        ({"a": {"$regex": "("}}, "$regex"),
        ({"a": {"$size": "x"}}, "$size"),
        ({"a": {"$options": "i"}}, "$options"),
        ({"a": {"$not": 3}}, "$not"),
        ({"a": {"$gt": 1, "b": 2}}, "mixes"),
        ({"a": {"$elemMatch": 2}}, "$elemMatch"),
        ([1], "object"),
    ],
)
def test_wrong_filter_is_named(tables: list[DocumentTable], criteria: Any, words: str) -> None:
    tables[0].upsert({"id": 1, "a": 1})
    for table in tables:
        with pytest.raises(InputError) as caught:
            list(table.query(criteria))
        assert words in str(caught.value) and "\n" not in str(caught.value)


def test_long_in_list(tables: list[DocumentTable]) -> None:
    table = tables[0]
    table.remove({})
    table.upsert([{"id": n, "a": n, "b": str(n)} for n in range(50)])
    many = [*range(40, 40_000), "x"]
    assert table.count({"a": {"$in": many}}) == 10
    assert table.count({"a": {"$nin": many}, "b": {"$in": [str(n) for n in many]}}) == 0


def _nested(operator: str, levels: int) -> dict[str, Any]:
    criteria: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        criteria = {operator: [criteria, {"b": {"$ne": "x"}}]}
    return criteria


def _negated(levels: int) -> dict[str, Any]:
    condition: dict[str, Any] = {"$eq": 1}
    for _ in range(levels):
        condition = {"$not": condition}
    return {"a": condition}


@pytest.mark.parametrize(
    "criteria",
    [
        {"$or": [{"a": n} for n in range(1500)]},
        {"$and": [{"b": {"$ne": str(n)}} for n in range(1500)] + [{"a": {"$gte": 0}}]},
        {"$or": [{"$or": [{"$or": [{"a": n} for n in range(8)]}] * 8}] * 8},
        {"$nor": [{"a": -n - 1} for n in range(1500)]},
        {"$or": [{"a": {"$in": list(range(2000))}, "b": {"$nin": ["x"]}} for _ in range(20)]},
        _nested("$and", 45),
        _nested("$or", 45),
        _negated(60),
        {"a.²": None},
        {"a.99999999999999999999": None},
        {"a": {"$lt": 10**30}},
    ],
)
def test_large_filters(tables: list[DocumentTable], criteria: dict[str, Any]) -> None:
    docs = [{"id": 1, "a": 1}, {"id": 2, "a": -5, "b": "x"}]
    expected = [doc["id"] for doc in docs if matches(criteria, doc)]
    for table in tables:
        table.remove({})
        table.upsert(docs)
        found = [doc["id"] for doc in table.query(criteria, ["id"], sort={"id": 1})]
        assert found == expected and 1 in found


FILTERS_THAT_NO_STORE_CAN_RUN: list[dict[str, Any]] = [
    _nested("$and", 500),
    _negated(5000),
    {"a": 10**400},
    {"a": {"$gt": -(10**400)}},
    {"n.x": {"$in": [10**400]}},
    {"a": "\ud800"},
    {"a": ["\ud800"]},
    {"n\ud800.x": 1},
    {"a": {"$regex": "\udcff"}},
    {"a": {"$regex": 5}},
    {"a": {"$regex": "a", "$options": 5}},
    {"a": {"$regex": "a{99999999999999999999}"}},
    {"a": {"$regex": "(" * 5000}},
    {"a": {"$in": 5}},
    {"$or": 5},
    {"$or": [5]},
]


def test_filters_that_no_store_can_run(store_uri: str) -> None:
    collection = open_collection(store_uri, "things")
    collection.upsert({"id": 1, "a": 1, "n": {"x": 1}})
    for criteria in FILTERS_THAT_NO_STORE_CAN_RUN:
        for ask in (lambda c=criteria: list(collection.query(c)), lambda c=criteria: collection.count(c)):
            with pytest.raises(InputError) as caught:
                ask()
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 12_000
    collection.close()


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> tuple[DocumentTable, list[dict[str, Any]]]:
    """A table of some hundred rows, and its documents."""
    table = DocumentTable(tmp_path_factory.mktemp("ways") / "ways.sqlite", "ways", "id", ["a", "b", "value"])
    docs = [
        {"id": n, "a": n % 40, "b": "many" if n % 50 else n / 1000, "c": n % 2, "value": (n * 37) % 1009}
        for n in range(1000)
    ]
    table.upsert(docs)
    return table, docs


@pytest.mark.parametrize("few", [10, 5000])
@pytest.mark.parametrize("limit", [0, 3, 200])
@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize(
    "criteria",
    [{}, {"a": 3}, {"a": {"$in": [1, 2]}}, {"b": "many"}, {"$and": [{"a": {"$gte": 38}}, {"b": "many"}]},
     {"b": {"$gt": 0.2}}, {"c": 1}],
)  # fmt: skip
def test_order_does_not_depend_on_the_way_taken(
    ways: tuple[DocumentTable, list[dict[str, Any]]],
    criteria: dict[str, Any],
    limit: int,
    skip: int,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stores.backends.sqlite._FEW", few)
    table, docs = ways
    test = predicate(checked(criteria))
    for way in (1, -1):
        expected = sorted(filter(test, docs), key=lambda d: way * d["value"])
        found = list(table.query(criteria, sort={"value": way}, skip=skip, limit=limit))
        assert found == expected[skip : skip + limit if limit else None]
