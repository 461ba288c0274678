"""Providers that are slow, busy, broken or down: what came is kept, one line names what did not."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sources.faulty_server import (
    FaultyServer,
    body,
    cubic,
    cut,
    drip,
    pages_of,
    resource,
    silent,
    squeezed,
    status,
)
from tests.sources.optimade_server import entry
from workflows.structures.sources.filters import CandidateFilter
from workflows.structures.sources.optimade import OptimadeSource
from workflows.structures.sources.protocol import Candidate, Source

Ask = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    def source(
        *urls: str, wanted: CandidateFilter | None = None, **options: Any
    ) -> tuple[list[str], list[str]]:
        usual = {"cache": tmp_path / "sources.sqlite", "backoff": 0.01, "attempts": 3, "timeout": 20.0}
        source = OptimadeSource(urls, wanted, **{**usual, **options})
        assert isinstance(source, Source)
        found: list[Candidate] = list(source.candidates())
        return [c.provenance.identifiers[0] for c in found], source.problems

    return source


ALL = [f"x:x-{i:03d}" for i in range(6)]


@pytest.mark.parametrize(
    "faults",
    [
        [status(500), status(503)],
        [cut(), cut()],
        [body("<html>maintenance</html>"), status(502)],
        [body([1, 2]), status(429)],
        [squeezed()],
    ],
    ids=["500s", "cut", "html", "no object", "gzip"],
)
def test_what_passes_is_tried_again(ask: Ask, faults: list[Any]) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = faults
        tries = 1 if faults == faults[:1] else len(faults) + 1
        assert ask(server.url) == (ALL, [])
        assert server.requested == [1] + [2] * tries + [3]


def test_a_server_that_names_a_pause_gets_it(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[1] = [status(429, Retry_After="1")]
        begun = time.monotonic()
        assert ask(server.url) == (ALL, [])
        assert time.monotonic() - begun >= 1.0


def test_a_server_that_asks_for_an_hour_is_given_up(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [status(503, Retry_After="3600")] * 9
        found, problems = ask(server.url)
        assert found == ALL[:2]
        assert problems == [
            "x: answered 503 Service Unavailable, asks to wait 3600 s: stopped after page 1 (2 of 6 "
            "structures); run again to resume there"
        ]


def test_a_provider_that_dies_in_mid_page_costs_only_the_rest_and_goes_on_from_there(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server, FaultyServer(pages_of(4, prefix="y"), prefix="y") as other:
        server.faults[3] = [cut()] * 3
        found, problems = ask(server.url, other.url)
        assert found == [*ALL[:4], *(f"y:y-{i:03d}" for i in range(4))]
        assert problems == [
            "x: answer broke off, 3 times: stopped after page 2 (4 of 6 structures); run again to resume "
            "there"
        ]
        server.requested.clear()
        other.requested.clear()
        assert ask(server.url, other.url) == ([*ALL, *(f"y:y-{i:03d}" for i in range(4))], [])
        assert server.requested == [3]  # pages that had come are not fetched again
        assert other.requested == []


def test_an_address_of_a_page_that_is_no_longer_good_begins_anew(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [cut()] * 3
        assert ask(server.url)[0] == ALL[:2]
        server.requested.clear()
        server.faults[2] = [status(410)]
        assert ask(server.url) == (ALL, [])
        assert server.requested == [2, 1, 2, 3]


def test_a_page_that_fails_in_two_calls_is_given_up_and_the_question_begun_anew(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [status(500)] * 6
        why = "x: answered 500 Internal Server Error, 3 times: stopped after page 1 (2 of 6 structures); run "
        assert ask(server.url) == (ALL[:2], [why + "again to resume there"])
        assert ask(server.url) == (
            ALL[:2],
            [why + "again to start from scratch, for that page was given up"],
        )
        server.requested.clear()
        assert ask(server.url) == (ALL, [])
        assert server.requested == [1, 2, 3]


def test_a_database_that_stays_down_does_not_cost_the_pages_that_came(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [status(503)] * 6
        ask(server.url)
        ask(server.url)  # the page is given up
        server.faults[1] = [status(503)] * 3
        assert ask(server.url) == (
            ALL[:2],
            [
                "x: answered 503 Service Unavailable, 3 times: stopped after page 1 (2 of 6 structures); "
                "run again to start from scratch, for that page was given up"
            ],
        )
        assert ask(server.url) == (ALL, [])


@pytest.mark.parametrize("fault", [drip, silent])
def test_a_slow_provider_is_not_waited_for(ask: Ask, fault: Callable[[], Any]) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [fault()] * 2
        begun = time.monotonic()
        found, problems = ask(server.url, timeout=1.0, attempts=2)
        assert found == ALL[:2]
        assert problems == [
            "x: no answer within 1 s, 2 times: stopped after page 1 (2 of 6 structures); run again to resume "
            "there"
        ]
        assert time.monotonic() - begun < 9.0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("<html>moved</html>", "answer is no JSON, 3 times"),
        ("[1, 2]", "answer is not OPTIMADE's, 3 times"),
        ({"data": {"id": 1}}, "answer holds no list of structures"),
        ({"data": None, "meta": 7, "links": []}, "answer holds no list of structures"),
    ],
)
def test_nonsense_is_one_line(ask: Ask, answer: Any, why: str) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[1] = [body(answer)] * 9
        assert ask(server.url) == (
            [],
            [f"x: {why}: nothing came from it; try again later, or leave x out"],
        )


def test_nonsense_instead_of_info_is_one_line(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[0] = [body("?")] * 9
        found, (problem,) = ask(server.url)
        assert found == []
        assert problem.endswith(
            f"answer is no JSON, 3 times: check the base URL {server.url}, or try again later"
        )


def test_entries_that_are_none_are_counted_and_the_rest_goes_on(ask: Ask) -> None:
    good = resource(entry(cubic(3.2), "x-1"))
    bad = [7, None, {"id": "x-2"}, {"id": "x-3", "attributes": []}, "text"]
    with FaultyServer([[*bad, good]]) as server:
        found, problems = ask(server.url)
        assert found == ["x:x-1"]
        assert problems == ["x: 5 structures skipped: malformed entry (5)"]


def test_a_server_that_turns_in_circles_is_noticed(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.next_of = lambda _: f"{server.url}/v1/structures?page_offset=1"
        found, (problem,) = ask(server.url)
        assert found == ALL[:2]
        assert problem.startswith("x: sends page after page without anything new: stopped after page 2")


def test_an_empty_page_that_names_a_next_one_is_noticed(ask: Ask) -> None:
    with FaultyServer([*pages_of(2), [], [], []]) as server:
        found, (problem,) = ask(server.url)
        assert found == ALL[:2]
        assert "without anything new" in problem
        assert server.requested == [1, 2]


@pytest.mark.parametrize(
    "next_of",
    [lambda url: {"href": url}, lambda url: "/x/v1/structures?" + url.split("?")[1]],
    ids=["object", "relative"],
)
def test_the_next_page_may_be_named_in_every_way(ask: Ask, next_of: Callable[[str], Any]) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.next_of = next_of
        assert ask(server.url) == (ALL, [])


def test_a_next_page_without_readable_address_is_one_line(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.next_of = lambda _: 42
        _, (problem,) = ask(server.url)
        assert problem.startswith("x: names no readable address of the next page")


def test_a_server_that_wants_smaller_pages_gets_a_smaller_request(ask: Ask) -> None:
    def check(query: dict[str, str]) -> Any:
        return status(403) if int(query.get("page_limit", 2)) > 10 else None

    with FaultyServer(pages_of(6)) as server:
        server.check = check
        assert ask(server.url) == (ALL, [])
        assert [query.get("page_limit") for query in server.queries[:3]] == ["500", "20", None]


@pytest.mark.parametrize("code", [400, 501])
def test_a_server_without_a_filter_is_asked_for_less_and_the_rest_is_left_out_here(
    ask: Ask, code: int
) -> None:
    entries = [resource(entry(cubic(3.3, partner), f"x-{partner}")) for partner in ("Ag", "Cd", "Zn", "Tc")]
    with FaultyServer([entries]) as server:
        server.check = lambda query: status(code) if "HAS ANY" in query["filter"] else None
        assert ask(server.url, wanted=CandidateFilter(partners=["Ag", "Zn"], max_atoms=8)) == (
            ["x:x-Ag", "x:x-Zn"],
            [],
        )


def test_a_server_that_ignores_the_filter_is_left(ask: Ask) -> None:
    others = [[resource(entry(cubic(3.3, "Ag").copy(), "x-1"))], []]
    others[0][0]["attributes"]["species_at_sites"] = ["Cu", "Ag"]
    with FaultyServer(others) as server:
        found, (problem,) = ask(server.url)
        assert found == []
        assert problem.startswith("x: sends structures that were not requested: nothing came from it")


def test_a_wrong_address_is_one_line(ask: Ask) -> None:
    with FaultyServer(pages_of(2)) as server:
        _, (problem,) = ask(server.url + "/nowhere")
        assert problem.endswith(
            f"/x/nowhere: answered 404 Not Found: check the base URL {server.url}/nowhere, or try again later"
        )
    with FaultyServer(pages_of(2)) as server:
        server.check = lambda _: status(404, '{"errors": [{"detail": "no such\\nthing"}]}')
        _, (problem,) = ask(server.url)
        assert problem == (
            "x: answered 404 Not Found (no such thing): nothing came from it; try again later, or leave x out"
        )


def test_a_provider_that_is_down_costs_only_itself(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as gone:
        pass
    with FaultyServer(pages_of(6)) as server:
        found, (problem,) = ask(gone.url, server.url)
        assert found == ALL
        assert "cannot be reached, 3 times" in problem
        assert "\n" not in problem


def test_an_older_answer_stands_in_for_a_provider_that_is_down(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        assert ask(server.url) == (ALL, [])
        server.faults[1] = [status(500)] * 3
        today = time.strftime("%Y-%m-%d")
        found, problems = ask(server.url, max_age=timedelta(0))
        assert found == ALL
        assert problems == [
            f"x: answered 500 Internal Server Error, 3 times: its answer of {today} is used; try again later "
            "for a newer one"
        ]
    assert ask(server.url, max_age=timedelta(0)) == (  # not even its info
        ALL,
        [f"x: cannot be reached, 3 times: its answer of {today} is used; try again later for a newer one"],
    )


def test_fewer_structures_than_promised_are_told_every_time(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.meta = {"data_returned": 8}
        expected = (ALL, ["x: 6 of 8 structures came, but no further page; --refresh fetches it again"])
        assert ask(server.url) == expected
        server.requested.clear()
        assert ask(server.url) == expected
        assert server.requested == []


def test_an_end_where_more_was_promised_is_told(ask: Ask) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.meta = {"more_data_available": True}
        found, problems = ask(server.url)
        assert found == ALL
        assert problems == [
            "x: 6 structures came and more were promised, but no further page; --refresh fetches it again"
        ]


def test_nothing_is_printed(ask: Ask, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultyServer(pages_of(6)) as server:
        server.faults[2] = [status(404)] * 9
        ask(server.url)
    assert capfd.readouterr() == ("", "")
