"""Stand-ins for the host's programs keep what they are given; nothing of the real host is touched."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from stores.errors import InputError
from workflows.execution.schedule import Entry, cron_times, every, minutes_in
from workflows.execution.schedule_systemd import SystemdTimer

TABLE = """#!/bin/sh
table="$FAKE/{name}.table"
echo "{name} $*" >> "$FAKE/calls"
case "$1" in
  -l) if [ -e "$table" ]; then cat "$table"; else echo "no crontab for me" >&2; exit 1; fi ;;
  *) cp "$1" "$table" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >> "$FAKE/calls"
"""
SBATCH = """#!/bin/sh
echo "sbatch $*" >> "$FAKE/calls"
n=$(cat "$FAKE/jobs" 2>/dev/null | wc -l)
echo "$((n + 1))" >> "$FAKE/jobs"
"""
SQUEUE = """#!/bin/sh
cat "$FAKE/jobs" 2>/dev/null || true
"""
SCANCEL = """#!/bin/sh
echo "scancel $*" >> "$FAKE/calls"
rm -f "$FAKE/jobs"
"""
PROGRAMS = {
    "cron": {"crontab": TABLE.format(name="crontab")},
    "scrontab": {"scrontab": TABLE.format(name="scrontab")},
    "systemd": {"systemctl": SYSTEMCTL},
    "sbatch": {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL},
}


class Host:
    """A PATH of nothing but stand-ins and what a shell script needs."""

    def __init__(self, folder: Path, mgsurf) -> None:
        self.folder = folder
        self.fake = folder / "fake"
        self.bin = folder / "bin"
        self.fake.mkdir()
        self.bin.mkdir()
        for tool in ("sh", "cat", "cp", "rm", "wc"):
            (self.bin / tool).symlink_to(
                next(Path(d) / tool for d in ("/usr/bin", "/bin") if (Path(d) / tool).exists())
            )
        self._mgsurf = mgsurf

    def give(self, *ways: str) -> None:
        for way in ways:
            for name, text in PROGRAMS[way].items():
                path = self.bin / name
                path.write_text(text)
                path.chmod(0o755)

    def run(self, *arguments: str, **env: str):
        return self._mgsurf(
            "schedule",
            *arguments,
            env={
                "PATH": str(self.bin), "FAKE": str(self.fake), "XDG_CONFIG_HOME": str(self.folder / "config"),
                "OMP_NUM_THREADS": "1", **env,
            },
        )  # fmt: skip

    def good(self, *arguments: str, **env: str) -> str:
        done = self.run(*arguments, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def calls(self) -> list[str]:
        path = self.fake / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def table(self, name: str = "crontab") -> str:
        return (self.fake / f"{name}.table").read_text()


@pytest.fixture
def host(tmp_path, mgsurf):
    return Host(tmp_path, mgsurf)


OTHERS = "MAILTO=me@example.org\n# backup\n0 4 * * * /usr/bin/backup --all 100\\%\n\n@daily x"


def test_cron_is_installed_once_changed_and_removed_and_other_lines_stay(host):
    host.give("cron")
    (host.fake / "crontab.table").write_text(OTHERS)  # without a line break at its end
    shown = host.good("--every", "6h", "--install")
    assert shown.startswith("every 6h with the crontab: mgsurf-refresh-")
    assert host.table().startswith(OTHERS + "\n# >>> mgsurf-refresh-")
    (line,) = [line for line in host.table().splitlines() if " refresh " in line]
    assert re.match(r"\d+ \*/6 \* \* \* cd ", line)
    host.good("--every", "6h", "--install")
    host.good("--every", "1d", "--install")
    lines = [line for line in host.table().splitlines() if " refresh " in line]
    assert len(lines) == 1
    assert re.match(r"\d+ 3 \* \* \* cd ", lines[0])
    assert host.good("--remove").startswith("removed mgsurf-refresh-")
    assert host.table() == OTHERS + "\n"
    assert host.good("--remove").startswith("there is no mgsurf-refresh-")


def test_an_entry_whose_end_was_lost_takes_no_other_lines_with_it(host):
    host.give("cron")
    host.good("--install")
    entry = host.table()
    begin = entry.splitlines(keepends=True)[0]
    (host.fake / "crontab.table").write_text(begin + OTHERS + "\n" + entry)
    host.good("--remove")
    assert host.table() == OTHERS + "\n"


def test_the_line_runs_a_refresh_here(host, tmp_path):
    host.give("cron")
    host.good("--every", "1h", "--install", "--store", "results.sqlite", MGSURF_CACHE=str(tmp_path / "it's"))
    (line,) = [line for line in host.table().splitlines() if " refresh " in line]
    command = line.split(maxsplit=5)[5]
    words = shlex.split(command)
    assert words[:3] == ["cd", str(tmp_path), "&&"]
    assert f"MGSURF_CACHE={tmp_path}/it's" in words
    assert words[words.index("--store") + 1] == f"sqlite:///{tmp_path}/results.sqlite"
    log = tmp_path / "mgsurf_runs" / "refresh.log"
    assert words[-3:] == [">>", str(log), "2>&1"]
    done = subprocess.run(["/bin/sh", "-c", command], cwd="/", env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 2
    assert f"There is no store at {tmp_path}/results.sqlite" in log.read_text()


def test_two_stores_are_two_entries(host):
    host.give("cron")
    host.good("--install", "--store", "a.sqlite")
    host.good("--install", "--store", "b.sqlite")
    host.good("--remove", "--store", "a.sqlite")
    (line,) = [line for line in host.table().splitlines() if " refresh " in line]
    assert "b.sqlite" in line


def test_another_shell_removes_it_too(host):
    host.give("cron")
    host.good("--install", "--store", "a.sqlite", OMP_NUM_THREADS="1")
    host.good("--install", "--store", "a.sqlite", OMP_NUM_THREADS="8", MGSURF_CACHE="/elsewhere")
    assert host.table().count(" refresh ") == 1
    assert "OMP_NUM_THREADS=8" in host.table()
    told = host.good("--remove", "--store", "b.sqlite")
    assert re.match(r"there is no mgsurf-refresh-\w+ here, of sqlite:///.*/b.sqlite; name the store", told)
    assert host.good("--remove", MGSURF_STORE="a.sqlite", OMP_NUM_THREADS="2").startswith("removed ")
    assert host.table() == ""


def test_entries_of_older_names_are_replaced_and_removed(host):
    """Their names depended on the environment, too."""
    host.give("cron")
    host.good("--install", "--store", "a.sqlite")
    mark, line = host.table().splitlines()[:2]
    words = shlex.split(line.split(maxsplit=5)[5])
    command = tuple(words[words.index("&&") + 2 : words.index(">>")])
    name = Entry(command, host.folder, Path("/log"), 60, {"OMP_NUM_THREADS": "1"}).name
    old = host.table().replace(mark.removeprefix("# >>> "), name)
    assert name not in mark
    for arguments in (["--remove"], ["--install"]):
        (host.fake / "crontab.table").write_text(old)
        host.good(*arguments, "--store", "a.sqlite")
        assert name not in host.table()
    assert host.table().count(" refresh ") == 1


def test_units_keep_dollars_as_they_are(tmp_path):
    """See systemd.exec(5): Environment= expands nothing; ExecStart= does, in its arguments."""
    entry = Entry(
        ("/a$b/mgsurf", "refresh", "$c.yaml"), tmp_path, tmp_path / "log", 60, {"MGSURF_CACHE": '/x$y "z"\\'}
    )
    text = SystemdTimer().text(entry)
    assert 'Environment="MGSURF_CACHE=/x$y \\"z\\"\\\\"\n' in text
    assert 'ExecStart="/a$b/mgsurf" "refresh" "$$c.yaml"\n' in text


def test_a_crontab_that_cannot_be_read_is_not_overwritten(host):
    (host.bin / "crontab").write_text(
        '#!/bin/sh\necho "crontab $*" >> "$FAKE/calls"\necho broken pipe >&2\nexit 1\n'
    )
    (host.bin / "crontab").chmod(0o755)
    done = host.run("--install", "--with", "cron")
    assert done.returncode == 2
    assert "no cron" in done.stderr
    assert all(call == "crontab -l" for call in host.calls)


def test_systemd(host):
    host.give("systemd")
    shown = host.good("--every", "36h", "--install")
    assert "systemd's user timers" in shown
    assert "enable-linger" in shown
    units = host.folder / "config" / "systemd" / "user"
    timer = next(units.glob("*.timer")).read_text()
    service = next(units.glob("*.service")).read_text()
    assert "OnUnitActiveSec=2160min" in timer
    assert f"WorkingDirectory={host.folder}" in service
    assert '"refresh" "--quiet"' in service
    name = next(units.glob("*.timer")).name
    assert f"systemctl --user enable {name}" in host.calls
    host.good("--every", "1h", "--install")
    assert len(list(units.iterdir())) == 2
    assert "OnUnitActiveSec=60min" in next(units.glob("*.timer")).read_text()
    host.good("--remove")
    assert list(units.iterdir()) == []
    assert f"systemctl --user disable --now {name}" in host.calls


def test_scrontab(host):
    host.give("scrontab")
    (host.fake / "scrontab.table").write_text("#SCRON --time=1:00\n@hourly mine\n")
    shown = host.good("--install", "--slurm=--partition=long", "--slurm=--time=4:00:00")
    assert "Slurm's crontab" in shown
    table = host.table("scrontab")
    assert table.startswith("#SCRON --time=1:00\n@hourly mine\n# >>> ")
    assert "#SCRON --partition=long\n#SCRON --time=4:00:00\n" in table
    host.good("--remove")
    assert host.table("scrontab") == "#SCRON --time=1:00\n@hourly mine\n"


def test_a_slurm_without_scrontab_gets_a_job_that_submits_itself(host):
    host.give("sbatch")
    host.good("--every", "6h", "--install", "--slurm=--partition=long")
    (script,) = (host.folder / "mgsurf_runs").glob("*.sh")
    text = script.read_text()
    assert text.startswith("#!/bin/bash\n#SBATCH --job-name=mgsurf-refresh-")
    assert "#SBATCH --dependency=singleton" in text
    assert f"sbatch --begin=now+360minutes {script}\n" in text
    assert text.index("sbatch --begin") < text.index(" refresh ")
    assert host.calls == [f"sbatch {script}"]
    host.good("--every", "6h", "--install")
    assert host.calls[1:] == ["scancel 1", f"sbatch {script}"], "the old chain ends before the new begins"
    # what the script does: the successor first, whatever becomes of the work
    subprocess.run(
        ["/bin/bash", str(script)], check=False, env={"PATH": str(host.bin), "FAKE": str(host.fake)}
    )
    assert host.calls[-1] == f"sbatch --begin=now+360minutes {script}"
    host.good("--remove")
    assert not script.exists()
    assert host.calls[-1].startswith("scancel ")


def test_the_host_decides_and_the_user_may(host):
    host.give("cron", "systemd", "scrontab", "sbatch")
    assert "#SCRON" in host.good("--print")
    assert "OnUnitActiveSec" in host.good("--print", "--with", "systemd")
    printed = host.run("--with", "cron")
    assert printed.stdout.startswith("# >>> mgsurf-refresh-")
    assert "nothing was changed" in printed.stderr
    assert not any(call.startswith(("crontab /", "sbatch", "systemctl --user enable")) for call in host.calls)


def test_another_way_replaces_the_first(host):
    host.give("cron", "systemd")
    host.good("--install", "--with", "cron")
    host.good("--install", "--with", "systemd")
    assert host.table() == ""
    host.good("--remove")
    assert not list((host.folder / "config" / "systemd" / "user").iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--every", "soon"), "--every soon: give a time between 5min and 4w"),
        (("--every", "1min"), "give a time between"),
        (("--every", "7h", "--with", "cron"), "a crontab cannot say this; take 5, 6, 10"),
        (("--install", "--remove"), "exclude each other"),
        (("--with", "slurm"), "this host has no slurm"),
        (("--store", "mongodb://me:secret@host/db"), "would show its password"),
        (("--store", "memory://x"), "is gone when this process ends"),
        (("--store", "100%.sqlite"), "holds a % or a control character"),
        (("--slurm", "partition"), "is no option of Slurm"),
        (("missing.yaml",), "no such campaign file"),
    ],
)
def test_bad_input_is_one_line(host, arguments, words):
    host.give("cron")
    done = host.run(*arguments)
    assert done.returncode == 2, done.stdout
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert "secret" not in done.stderr
    assert not (host.fake / "crontab.table").exists()


def test_a_host_with_nothing_says_so(host):
    assert "this host has no cron, systemd user timers or Slurm" in host.run().stderr


def test_times():
    for minutes in (5, 6, 10, 12, 15, 20, 30):
        first, step = re.fullmatch(r"(\d+)-59/(\d+) \* \* \* \*", cron_times(minutes, "a")).groups()
        assert int(step) == minutes
        assert int(first) < minutes
    for hours in (2, 3, 4, 6, 8, 12):
        assert f" */{hours} * * *" in cron_times(60 * hours, "a")
    assert cron_times(60, "a").endswith(" * * * *")
    assert cron_times(10080, "a").endswith(" 3 * * 0")
    for bad in (7, 45, 90, 300, 2880):
        with pytest.raises(InputError, match="cannot say"):
            cron_times(bad, "a")
    assert [every(minutes_in(text)) for text in ("30min", "90m", "6h", "24h", "2d", "7d")] == [
        "30min", "90min", "6h", "1d", "2d", "1w"
    ]  # fmt: skip


def test_names_depend_on_store_and_campaign_alone():
    def name(minutes, folder="/a", of=("sqlite:///a.sqlite",)):
        return Entry((sys.executable, "refresh"), Path(folder), Path("/log"), minutes, of=of).name

    assert name(60) == name(120) == name(60, "/b")
    assert name(60) != name(60, of=("sqlite:///a.sqlite", "/campaign.yaml"))
    assert os.sep not in name(60)
