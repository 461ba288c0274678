from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest


def serve(environment, cwd, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "workflows.cli.app", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=cwd,
    )  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_it_prints_its_address_answers_and_ends_with_ctrl_c(environment, filled, tmp_path, host):
    with serve(environment, tmp_path, "--store", filled, "--port", 0, "--host", host) as process:
        address = process.stdout.readline().strip()
        assert re.fullmatch(rf"http://{re.escape(host)}:\d+/", address)
        with urllib.request.urlopen(f"{address}facets") as answer:
            assert b"MgAg" in answer.read()
        request = urllib.request.Request(f"{address}facets", headers={"host": "evil.example"})
        try:
            urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            assert error.code == 421
        else:
            raise AssertionError("another host name was answered")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert errors.splitlines()[-1] == "mgsurf: ended"
    assert "Traceback" not in errors and "no password" not in errors


def test_a_taken_port_is_one_line_with_a_remedy(refused_here, filled):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = refused_here("serve", "--store", filled, "--port", taken.getsockname()[1])
    assert "another program listens there" in line
    assert "0 for a free one" in line


def test_an_address_of_another_machine_and_a_missing_store_are_one_line(refused_here, filled, tmp_path):
    host = ("serve", "--store", filled, "--port", 0, "--host")
    assert "no address of this machine" in refused_here(*host, "192.0.2.1")
    assert "no such address" in refused_here(*host, "no such host")
    assert "There is no store at" in refused_here("serve", "--store", tmp_path / "none.sqlite")
