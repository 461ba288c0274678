"""Notifications: what is sent when, to a real server and a real command, and that no failure harms a run."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stores.errors import InputError, StoreError
from workflows.execution import notifications
from workflows.execution.listener import Tally
from workflows.execution.notifications import Notifier
from workflows.flows.campaign.file import load_campaign
from workflows.flows.campaign.notifications import Notify
from workflows.flows.refresh_check import DECISION
from workflows.jobs.progress import PROGRESS, Stage, announce

SECRET = "/services/T0/B0/Xq7zXq7zXq7z"


class Hook:
    """A server on 127.0.0.1 that keeps what is posted and answers as it is set to."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.status, self.wait = 200, 0.0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json"
                hook.texts.append(body["text"])
                time.sleep(hook.wait)
                self.send_response(hook.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(autouse=True)
def heard():
    level = PROGRESS.level
    PROGRESS.setLevel(logging.INFO)
    yield
    PROGRESS.setLevel(level)


def keeping(path):
    """A command that keeps what it gets."""
    return [sys.executable, "-c", f"import sys; open({str(path)!r}, 'a').write(sys.stdin.read())"]


def test_the_end_of_a_run_goes_to_webhook_and_command(hook, tmp_path):
    tally = Tally(computed=["a", "b"], reused=["c"], records=["1", "2", "2"])
    tally.problems = [(f"MgAg ({n}00) Ag", "SCF <did> not converge") for n in range(1, 8)]
    with Notifier(Notify(webhook=hook.address, command=keeping(tmp_path / "mail")), "zinc") as notifier:
        notifier.run_ended(tally)
    mail = (tmp_path / "mail").read_text()
    assert mail.startswith(
        "mgsurf, zinc: ended: 2 surfaces; 2 calculations run, 1 found in the store\n7 problems"
    )
    assert "- MgAg (100) Ag: SCF <did> not converge\n" in mail and "- and 2 more\n" in mail
    assert hook.texts == [mail.removesuffix("\n").replace("<", "&lt;").replace(">", "&gt;")]


def test_failures_notify_once_at_the_limit_and_each_counts_once(hook):
    with Notifier(Notify(webhook=hook.address, failures=2), "c"):
        announce(Stage.PROBLEM, "MgAg (110) MgAg: slab relax", text="failed: x")
        announce(Stage.PROBLEM, "MgAg (110) MgAg: slab relax", text="failed: x")
        assert hook.texts == []
        for number in range(3):
            announce(Stage.PROBLEM, f"MgAg (10{number}) Ag: slab relax", text="failed: y")
    assert len(hook.texts) == 1
    assert "2 calculations with problems so far, last MgAg (100) Ag: slab relax: failed: y" in hook.texts[0]


def test_a_promotion_notifies_and_a_rejection_does_not(hook):
    with Notifier(Notify(webhook=hook.address), "c"):
        announce(Stage.NOTE, DECISION, text="v2 rejected: worse by 3 %")
        announce(Stage.NOTE, DECISION, text="v3 promoted: better by 8 %")
    assert hook.texts == ["mgsurf, c: model v3 promoted: better by 8 %"]
    with Notifier(Notify(webhook=hook.address, model_promoted=False, campaign_ends=False), "c") as notifier:
        announce(Stage.NOTE, DECISION, text="v4 promoted: better by 8 %")
        notifier.run_ended(Tally())
    assert len(hook.texts) == 1


def test_a_run_that_breaks_off_notifies_unless_a_person_ended_it(hook):
    for error in (StoreError("The store was deleted."), KeyboardInterrupt()):
        with pytest.raises(type(error)), Notifier(Notify(webhook=hook.address), "c"):
            raise error
    assert hook.texts == ["mgsurf, c: stopped: The store was deleted."]


@pytest.mark.parametrize(
    "kind", ["status", "redirection", "slow", "nobody", "program", "exit", "sleeps", "variable"]
)
def test_a_hook_that_fails_is_one_line_without_its_address(kind, hook, monkeypatch, caplog):
    monkeypatch.setattr(notifications, "TIMEOUT", 0.6)
    monkeypatch.delenv("MGSURF_NO_HOOK", raising=False)
    hook.status = {"status": 500, "redirection": 302}.get(kind, 200)
    hook.wait = 5.0 if kind == "slow" else 0.0
    settings = {
        "nobody": {"webhook": f"http://127.0.0.1:1{SECRET}"},
        "program": {"command": ["no-such-mail"]},
        "exit": {"command": ["sh", "-c", "echo no such user >&2; exit 3"]},
        "sleeps": {"command": ["sh", "-c", "sleep 30 & sleep 30"]},
        "variable": {"webhook": "$MGSURF_NO_HOOK"},
    }.get(kind, {"webhook": hook.address})
    start = time.monotonic()
    with caplog.at_level(logging.WARNING), Notifier(Notify(**settings), "c") as notifier:
        notifier.run_ended(Tally())
    assert time.monotonic() - start < 4
    (line,) = [record.getMessage() for record in caplog.records]
    assert "\n" not in line and "Xq7z" not in line
    words = {
        "status": "500",
        "redirection": "302",
        "slow": "0.6 s",
        "program": "no-such-mail",
        "exit": "no such user",
    }
    assert words.get(kind, "notify.") in line
    assert len(hook.texts) <= 1


def test_the_address_may_be_in_a_variable_and_is_hidden_everywhere(hook, monkeypatch):
    from stores.secrets import masked

    monkeypatch.setenv("MY_HOOK", hook.address)
    with Notifier(Notify(webhook="$MY_HOOK"), "c") as notifier:
        notifier.run_ended(Tally())
    assert len(hook.texts) == 1
    assert "Xq7z" not in masked(f"cannot reach {hook.address}, POST {SECRET}")


@pytest.mark.parametrize("value", ["http://[half/Xq7z", "file:///tmp/Xq7z", "https:///Xq7z", "two words"])
def test_a_variable_that_holds_no_address_is_one_line(value, monkeypatch, caplog):
    monkeypatch.setenv("MY_HOOK", value)
    with caplog.at_level(logging.WARNING), Notifier(Notify(webhook="$MY_HOOK"), "c") as notifier:
        notifier.run_ended(Tally())
    (line,) = [record.getMessage() for record in caplog.records]
    assert "$MY_HOOK" in line and "https://hooks.slack.com" in line and value not in line


def test_a_short_path_of_an_address_is_hidden_nowhere_else():
    from stores.secrets import masked

    with Notifier(Notify(webhook="http://127.0.0.1:1/mgsurf"), "c"):
        assert masked("/data/mgsurf/s.sqlite") == "/data/mgsurf/s.sqlite"


def test_names_that_are_no_text_are_sent(hook, tmp_path):
    tally = Tally(problems=[("MgAg", "no such file: caf\udce9.cif")])
    with Notifier(Notify(webhook=hook.address, command=keeping(tmp_path / "mail")), "c") as notifier:
        notifier.run_ended(tally)
    assert "caf?.cif" in (tmp_path / "mail").read_text() and "caf?.cif" in hook.texts[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{webhook: 'http://[half/Xq7z'}", "https://hooks.slack.com"),
        ("{webhook: 'ftp://x/Xq7z'}", "https://hooks.slack.com"),
        ("{}", "a webhook, a command or both"),
        ("{command: mail}", "a list"),
        ("{command: ['']}", "program"),
        ("{webhook: 'https://x/Xq7z', on: [end]}", "unknown key"),
        ("{command: [mail], failures: 0}", "at least 1"),
    ],
)
def test_mistakes_in_the_section_are_named_with_their_line(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(f"name: x\ncompounds: [{{formula: Mg}}]\nnotify: {text}\n")
    with pytest.raises(InputError) as raised:
        load_campaign(path)
    assert "c.yaml:3" in str(raised.value) and words in str(raised.value)
    assert "Xq7z" not in str(raised.value)


def test_a_campaign_without_the_section_notifies_nobody():
    with Notifier(None, "c") as notifier:
        announce(Stage.PROBLEM, "MgAg", text="failed")
        notifier.run_ended(Tally())
