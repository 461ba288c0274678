"""Pages of campaigns and failures: counts, runs of this machine, a queue, groups of reasons."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import socket
import time

from stores.connections import open_store
from stores.records import CalculationStatus
from tests.stores.conftest import make_calculation
from workflows.web.failures import grouped, pattern_of, remedy_of


def wait_for(client, key="campaigns"):
    """Ask for the first page until campaigns are counted."""
    for _ in range(100):
        data = client.get("/overview.json").json()
        if data[key] is not None:
            return data
        time.sleep(0.05)
    raise AssertionError(f"no {key}")


def test_campaigns_are_counted_as_the_command_counts_them(client, filled, capsys):
    from workflows.cli.app import app

    app(["status", "--store", str(filled), "--json"], standalone_mode=False)
    status = json.loads(capsys.readouterr().out)
    data = wait_for(client)
    (row,) = data["campaigns"]
    assert row["campaign"] == "quickstart" and row["facets"] == status["surfaces"] == data["surfaces"] == 8
    assert row["compounds"] == len(status["compounds"])
    for target in ("surface_energy", "work_function"):
        assert row[target] == data["verdicts"][target] == status["verdicts"][target]
    ok = sum(counts["ok"] for counts in status["calculations"].values())
    assert data["calculations"]["ok"] == ok
    assert data["queue"] is None and data["runs"] == []
    assert "running" not in client.get("/").text


def test_new_removed_and_replaced_records_change_the_counts(client_of, filled, records, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    client = client_of(path)
    assert wait_for(client)["campaigns"][0]["facets"] == 8
    surface = records.quickstart_surfaces()[0]
    later = surface.model_copy(
        update={"id": "other", "campaign": "zinc", "created_at": records.datetime.now(records.UTC)}
    )
    with open_store(f"sqlite:///{path}") as store:
        store.add(later)
    assert [(r["campaign"], r["facets"]) for r in wait_for(client)["campaigns"]] == [
        ("zinc", 1),
        ("quickstart", 8),
    ]
    with open_store(f"sqlite:///{path}") as store:
        store.remove({"formula": "Mg"})
    assert [r["facets"] for r in wait_for(client)["campaigns"]] == [1, 5]
    with open_store(f"sqlite:///{path}") as store:
        store.add(
            later.model_copy(update={"campaign": "silver", "created_at": records.datetime.now(records.UTC)})
        )
    assert wait_for(client)["campaigns"][0]["campaign"] == "silver"


def test_a_run_of_this_machine_is_shown_with_its_progress(client_of, filled, tmp_path, monkeypatch):
    path, work = tmp_path / "s.sqlite", tmp_path / "runs"
    shutil.copy(filled, path)
    work.mkdir()
    with open_store(f"sqlite:///{path}") as store:  # its folder leads to the run
        output = {"status": "ok", "energy": -1.0, "directory": str(work / "ab")}
        store.add(make_calculation(0, id="ab", output=output))
    state = {"pid": os.getpid(), "host": socket.gethostname(), "label": "MgAg (110) <b>: slab relax"}
    state |= {"campaign": "zinc", "planned": 20, "done": 11, "computed": 7, "reused": 4, "problems": 2}
    state |= {"seconds_left": 7200, "cores": 4}
    (work / "running.json").write_text(json.dumps(state))
    client = client_of(path)
    (run,) = client.get("/overview.json").json()["runs"]
    assert (run["campaign"], run["planned"], run["done"], run["running"], run["waiting"]) == (
        "zinc",
        20,
        11,
        1,
        8,
    )
    assert (run["computed"], run["reused"], run["problems"]) == (7, 4, 2)
    assert run["core_hours_left"] == 8.0
    text = client.get("/").text
    assert "about 2.0 h left" in text and "&lt;b&gt;" in text and "<b>" not in text
    for damaged in ({**state, "planned": "many"}, {**state, "pid": 2**40}, [], {**state, "planned": 0}):
        (work / "running.json").write_text(json.dumps(damaged))
        assert client.get("/").status_code == 200


def test_a_queue_that_is_away_is_a_line_on_the_page(client_of, filled, tmp_path, monkeypatch):
    monkeypatch.setenv("JFREMOTE_PROJECTS_FOLDER", str(tmp_path))
    client = client_of(filled, project="nowhere")
    data = wait_for(client, "queue")
    assert "nowhere" in data["queue"]["problem"] and data["queue"]["campaigns"] == []
    assert client.get("/").status_code == client.get("/failures").status_code == 200


def test_failures_are_grouped_by_what_they_have_in_common(client):
    data = client.get("/failures.json").json()
    assert [(g["status"], g["count"], g["reason"]) for g in data["groups"]] == [
        ("failed", 1, "mpirun ended with status 1"),
        ("unconverged", 1, "SCF not converged in 400 steps"),
    ]
    failed, unconverged = data["groups"]
    assert failed["commands"][0] == "mgsurf run CAMPAIGN.yaml"
    assert failed["commands"][1] == "mgsurf log 'Mg (10-10) Mg-b slab relax'"
    assert unconverged["commands"][0].endswith("--retry-unconverged") and "maxiter" in unconverged["remedy"]
    rejected = {(r["target"], r["verdict"], r["count"]) for r in data["rejected"]}
    assert rejected == {
        ("surface_energy", "failed", 1),
        ("work_function", "failed", 1),
        ("work_function", "vacuum_not_flat", 1),
    }
    text = client.get("/failures").text
    assert "/facets?verdict=work_function%3Dvacuum_not_flat" in text
    assert client.get("/facets.json?verdict=work_function%3Dvacuum_not_flat").json()["total"] == 1


def test_reasons_that_differ_in_numbers_paths_and_ids_are_one_group():
    one = "gpaw: ended by SIGKILL (see /scratch/me/0123456789abcdef0123456789abcdef/worker.err), 3.5e-4 eV"
    other = "gpaw: ended by SIGKILL (see /project/you/fedcba9876543210fedcba9876543210/worker.err), -2 eV"
    assert pattern_of(one) == pattern_of(other)
    assert pattern_of("SCF not converged") != pattern_of("forces not converged")
    problems = [
        {"label": f"MgAg {n}", "status": "failed", "reason": reason, "created_at": f"2026-01-0{9 - n}"}
        for n, reason in enumerate([one, other, "stopped at its walltime"])
    ]
    largest, smaller = grouped(problems, "cluster")
    assert (largest["count"], largest["labels"], largest["latest"]) == (2, ["MgAg 0", "MgAg 1"], "2026-01-09")
    assert largest["commands"][0] == "mgsurf retry --failed --project cluster"
    assert "walltime" in smaller["remedy"] and "memory" in largest["remedy"] and remedy_of("odd") == ""


def test_secrets_in_reasons_are_hidden():
    problem = {"label": "a", "status": "failed", "reason": "mongodb://me:Xq7z@h/d is away", "created_at": ""}
    assert "Xq7z" not in json.dumps(grouped([problem]))


def test_the_first_page_follows_the_store_and_survives_its_loss(browser, serving, filled, records, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    with serving(path) as url:
        context = browser.new_context(base_url=url, viewport={"width": 390, "height": 800})
        page = context.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto("/")
        page.wait_for_selector("text=quickstart")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.focus("a[href='/failures']:text('failed')")
        later = records.quickstart_surfaces()[0].model_copy(
            update={"id": "other", "campaign": "zinc", "created_at": records.datetime.now(records.UTC)}
        )
        with open_store(f"sqlite:///{path}") as store:
            store.add(later)
        page.wait_for_selector("a:text-is('zinc')", timeout=15_000)  # without any click
        assert (
            page.evaluate("document.activeElement.getAttribute('href')") == "/failures"
        )  # keyboard users stay
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        with page.expect_response(lambda answer: answer.status == 503, timeout=15_000):
            pass
        assert page.locator("a:text-is('zinc')").count() == 1  # what was seen last stays
        shutil.copy(filled, tmp_path / "other.sqlite")
        (tmp_path / "other.sqlite").replace(path)
        page.wait_for_selector("a:text-is('zinc')", state="detached", timeout=15_000)
        assert page.locator("a:text-is('quickstart')").count() == 1
        context.close()
    assert errors == []


def test_without_javascript_the_tables_are_there(browser, url):
    context = browser.new_context(base_url=url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.goto("/")
    assert page.locator("table.campaigns a:text-is('quickstart')").count() == 1
    context.close()


def test_a_rehearsal_is_counted_apart(client_of, filled, records, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    before = wait_for(client_of(path))
    surface, calculation = records.quickstart_surfaces()[0], records.calculations()[0]
    mlip = surface.method.model_copy(update={"engine": "mlip"})
    changes = {"id": "rehearsal", "method": mlip, "method_fingerprint": mlip.fingerprint}
    with open_store(f"sqlite:///{path}") as store:
        store.add([one.model_copy(update=changes) for one in (surface, calculation)])
    client = client_of(path)
    data = wait_for(client)
    for name in ("surfaces", "verdicts", "calculations"):
        assert data[name] == before[name]
    assert data["rehearsal"]["surfaces"] == 1 and data["rehearsal"]["calculations"]["ok"] == 1
    assert sorted((row["facets"], row["rehearsal"]) for row in data["campaigns"]) == [(1, True), (8, False)]
    assert client.get("/facets.json?method=mlip-").json()["total"] == 1
    assert 'href="/facets?method=mlip-"' in client.get("/").text


def test_a_compound_shows_dft_before_a_rehearsal(client_of, filled, records, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    surfaces = [one for one in records.quickstart_surfaces() if one.formula == "MgAg"]
    mlip = surfaces[0].method.model_copy(update={"engine": "mlip"})
    changes = {"method": mlip, "method_fingerprint": mlip.fingerprint, "bulk_id": "rehearsal"}
    with open_store(f"sqlite:///{path}") as store:
        for i in range(2):  # more of them than of DFT
            store.add([one.model_copy(update={**changes, "id": f"{i}-{one.id}"}) for one in surfaces])
    data = client_of(path).get("/compounds/MgAg.json").json()
    assert [c["method_fingerprint"] == mlip.fingerprint for c in data["crystals"]] == [False, True]
    assert len(data["facets"]) == len(surfaces)


def test_failures_of_a_rehearsal_are_shown_apart(client_of, filled, records, tmp_path):
    path = tmp_path / "s.sqlite"
    shutil.copy(filled, path)
    before = client_of(path).get("/failures.json").json()
    assert before["rehearsal"] == {}
    surface = next(s for s in records.quickstart_surfaces() if s.surface_energy is None)
    calculation = records.calculations()[0]
    output = calculation.output.model_copy(
        update={"status": CalculationStatus.FAILED, "reason": "atoms fell apart"}
    )
    mlip = surface.method.model_copy(update={"engine": "mlip"})
    changes = {"id": "rehearsal", "method": mlip, "method_fingerprint": mlip.fingerprint}
    with open_store(f"sqlite:///{path}") as store:
        store.add([surface.model_copy(update=changes)])
        store.add([calculation.model_copy(update={**changes, "output": output})])
    client = client_of(path)
    data = client.get("/failures.json").json()
    assert {**data, "rehearsal": {}} == before
    assert data["rehearsal"]["total"] == 1
    assert [group["reason"] for group in data["rehearsal"]["groups"]] == ["atoms fell apart"]
    rejected = {(row["target"], row["verdict"]): row["count"] for row in before["rejected"]}
    for page in ("/", "/failures"):  # a link leads to as many facets as it counts
        links = re.findall(r'href="(/facets\?verdict=[^"]*failed[^"]*)"', client.get(page).text)
        assert links
        for link in map(html.unescape, links):
            target = "work_function" if "work_function" in link else "surface_energy"
            total = client.get(link.replace("/facets?", "/facets.json?")).json()["total"]
            assert total == (1 if "mlip-" in link.partition("method=")[2] else rejected[target, "failed"])
    all_by_dft = re.search(r'<dt>Facets</dt><dd><a href="/facets([^"]*)"', client.get("/").text)[1]
    total = client.get(f"/facets.json{html.unescape(all_by_dft)}").json()["total"]
    assert total == client.get("/overview.json").json()["surfaces"]
    with open_store(f"sqlite:///{path}") as store:  # nothing but the rehearsal fails
        store.remove({"output.status": {"$ne": "ok"}, "id": {"$ne": "rehearsal"}}, "calculations")
        store.remove({"id": {"$ne": "rehearsal"}})
    assert "No calculation failed" not in client.get("/failures").text
