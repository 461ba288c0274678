"""A real shell runs the printed scripts; crontab, systemctl and Slurm are stand-ins on a PATH."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from stores.errors import InputError
from workflows.cli.schedule import Entry, _cron, _slurm, _systemd, cron_times, minutes_in, schedule

OTHERS = "MAILTO=me@example.org\n# backup\n0 4 * * * /usr/bin/backup --all 100\\%\n\n@daily x"
CRONTAB = """#!/bin/sh
case "$1" in
  -l) [ ! -e broken ] || { echo broken pipe >&2; exit 1; }
      [ -e table ] || { echo "no crontab for me" >&2; exit 1; }; cat table ;;
  -) cat > new; mv new table ;;
esac
"""
RECORDS_ITS_CALL = '#!/bin/sh\necho "${0##*/} $*" >> calls\n'


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A folder with stand-ins in front of the PATH; gives the function that runs a script by sh."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "crontab": CRONTAB,
        "systemctl": RECORDS_ITS_CALL,
        "sbatch": RECORDS_ITS_CALL,
        "scancel": RECORDS_ITS_CALL,
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "con fig"))
    monkeypatch.setenv("MGSURF_CACHE", str(tmp_path / "it's"))
    for name in ("MGSURF_STORE", "MGSURF_CONFIG", "MGSURF_WORK_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    return lambda script: subprocess.run(["sh"], input=script, text=True, capture_output=True, check=False)


@pytest.fixture
def printed(host, capsys):
    def run(interval="6h", way="cron", slurm=(), store=None, campaign=None):
        assert schedule(campaign, interval, scheduler=way, slurm=list(slurm), store=store) == 0
        return capsys.readouterr().out

    return run


def removal(script: str) -> str:
    return script.splitlines()[1].removeprefix("# remove:   ")


def test_crontab_gets_one_entry_whose_interval_changes_and_other_lines_stay(host, printed, tmp_path):
    table = tmp_path / "table"
    table.write_text(OTHERS)  # without a line break at its end
    for interval, times in (
        ("6h", r"\d+ \*/6 \* \* \*"),
        ("6h", r"\d+ \*/6 \* \* \*"),
        ("1d", r"\d+ 3 \* \* \*"),
    ):
        assert host(printed(interval)).returncode == 0
        assert table.read_text().startswith(OTHERS + "\n# >>> mgsurf-refresh-")
        (line,) = [line for line in table.read_text().splitlines() if " refresh " in line]
        assert re.match(times + " cd ", line)
    assert host(printed(store="b.sqlite")).returncode == 0, "another store is another entry"
    assert table.read_text().count(" refresh ") == 2
    for store in (None, "b.sqlite"):
        host(removal(printed(store=store)))
    assert table.read_text() == OTHERS + "\n"


def test_first_entry_of_a_crontab_runs_a_refresh_here(host, printed, tmp_path):
    assert host(printed("1h", store="results.sqlite")).returncode == 0
    begin, line, end = (tmp_path / "table").read_text().splitlines()
    assert begin.startswith("# >>> mgsurf-refresh-") and end == begin.replace(">>>", "<<<")
    command = line.split(maxsplit=5)[5]
    words = shlex.split(command)
    assert words[:3] == ["cd", str(tmp_path), "&&"]
    assert f"MGSURF_CACHE={tmp_path}/it's" in words
    assert words[words.index("--store") + 1] == f"sqlite:///{tmp_path}/results.sqlite"
    log = tmp_path / "mgsurf_runs" / "refresh.log"
    assert words[-3:] == [">>", str(log), "2>&1"]
    done = subprocess.run(["/bin/sh", "-c", command], cwd="/", env={"PATH": "/usr/bin:/bin"}, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/results.sqlite" in log.read_text()


def test_a_crontab_that_cannot_be_read_is_not_overwritten(host, printed, tmp_path):
    (tmp_path / "table").write_text(OTHERS)
    (tmp_path / "broken").touch()
    for script in (printed(), removal(printed())):
        done = host(script)
        assert (done.returncode, done.stderr) == (1, "broken pipe\n")
    assert (tmp_path / "table").read_text() == OTHERS


def test_systemd_units_are_written_started_and_removed(host, printed, tmp_path):
    script = printed("36h", "systemd")
    assert host(script).returncode == 0
    units = tmp_path / "con fig" / "systemd" / "user"
    (timer,), (service,) = units.glob("*.timer"), units.glob("*.service")
    assert "OnUnitActiveSec=2160min\n" in timer.read_text()
    assert f"WorkingDirectory={tmp_path}\n" in service.read_text()
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [line.split()[2] for line in calls] == ["daemon-reload", "enable", "restart"]
    assert calls[1].endswith(timer.name)
    assert host(removal(script)).returncode == 0
    assert list(units.iterdir()) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_reads_the_units(host, printed, tmp_path):
    host(printed("6h", "systemd"))
    units = [str(path) for path in (tmp_path / "con fig" / "systemd" / "user").iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert "mgsurf" not in done.stderr, done.stderr  # other units of the host may have faults of their own


def test_units_keep_dollars_as_they_are(tmp_path):
    """See systemd.exec(5): Environment= expands nothing; ExecStart= does, in its arguments."""
    command = ["/a$b/mgsurf", "refresh", "$c.yaml"]
    text, _ = _systemd(
        Entry("x", command, tmp_path, tmp_path / "log", 60, {"MGSURF_CACHE": '/x$y "z"\\'}, [])
    )
    assert 'Environment="MGSURF_CACHE=/x$y \\"z\\"\\\\"\n' in text
    assert 'ExecStart="/a$b/mgsurf" "refresh" "$$c.yaml"\n' in text


def test_slurm_job_submits_its_successor_before_it_works(host, printed, tmp_path):
    script = printed("6h", "slurm", ["--partition=long", "--time=4:00:00"])
    assert host(script).returncode == 0
    (job,) = (tmp_path / "mgsurf_runs").glob("*.sh")
    text = job.read_text()
    assert text.startswith("#!/bin/bash\n#SBATCH --job-name=mgsurf-refresh-")
    assert "\n#SBATCH --partition=long\n#SBATCH --time=4:00:00\n#SBATCH --dependency=singleton\n" in text
    calls = tmp_path / "calls"
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["scancel", "sbatch"]
    subprocess.run(["bash", str(job)], check=False)
    assert calls.read_text().splitlines()[2] == f"sbatch --begin=now+360minutes {job}"
    assert host(removal(script)).returncode == 0
    assert not job.exists()
    assert calls.read_text().splitlines()[3].startswith("scancel ")


@pytest.mark.parametrize("write", [_cron, _systemd, _slurm])
def test_blanks_and_quotes_in_paths_survive_the_shell(write, tmp_path):
    entry = Entry("x", ["/a b/mgsurf", "it's"], tmp_path / "a b", tmp_path / "c d" / "log", 60, {}, [])
    for text in write(entry):
        assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("way", ["cron", "systemd", "slurm"])
@pytest.mark.parametrize("changed", ["install", "remove"])
def test_options_that_changed_the_host_name_the_command(host, printed, way, changed):
    lines = printed("6h", way, store="a.sqlite").splitlines()
    command = lines[0 if changed == "install" else 1].partition(":")[2].strip()
    with pytest.raises(InputError) as caught:
        schedule(every="6h", scheduler=way, store="a.sqlite", **{changed: True})
    assert str(caught.value).endswith(command)


@pytest.mark.parametrize(
    ("there", "way"),
    [
        (("crontab",), "# >>> "),
        (("crontab", "systemctl"), "OnUnitActiveSec"),
        (("crontab", "sbatch"), "#SBATCH"),
    ],
)
def test_without_a_choice_the_host_decides(host, printed, tmp_path, monkeypatch, there, way):
    for program in (tmp_path / "bin").iterdir():
        if program.name not in there:
            program.unlink()
    (tmp_path / "run" / "systemd").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert way in printed(way=None)


def test_a_host_with_nothing_says_so(host, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="cron, systemd user timers or Slurm"):
        schedule()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--every", "soon"), "between 5min and 4w"),
        (("--every", "1min"), "between 5min and 4w"),
        (("--every", "7h", "--with", "cron"), "take 5, 6, 10"),
        (("--store", "mongodb://me:secret@host/db"), "password"),
        (("--store", "memory://x"), "is gone when this process ends"),
        (("--store", "100%.sqlite"), "holds a % or a control character"),
        (("--slurm", "partition"), "--slurm=--time=4:00:00"),
        (("missing.yaml",), "no such campaign file"),
        (("--install", "--with", "cron"), "| sh"),
    ],
)
def test_bad_input_is_one_line(host, refused_here, arguments, words):
    line = refused_here("schedule", *arguments, *(() if "--with" in arguments else ("--with", "cron")))
    assert words in line
    assert "secret" not in line


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
        with pytest.raises(InputError, match="no crontab line"):
            cron_times(bad, "a")
    times = [minutes_in(text) for text in ("30min", "90m", "6h", "24h", "2d", "7d")]
    assert times == [30, 90, 360, 1440, 2880, 10080]


def test_entry_is_named_by_store_and_campaign_alone(printed, tmp_path, monkeypatch):
    def name(**given) -> str:
        return re.search(r"mgsurf-refresh-\w+", printed(**given))[0]

    first = name(store="a.sqlite")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert name(store="a.sqlite", interval="1h") == name(store="a.sqlite", way="slurm") == first
    assert name(store="b.sqlite") != first
    monkeypatch.setenv("MGSURF_STORE", "a.sqlite")
    assert name() == first
    assert Path(tmp_path, "a.sqlite").exists() is False
