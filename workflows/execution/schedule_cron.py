"""Entries in the crontab of the user, and in Slurm's, which is written the same way."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.execution.schedule import call, cron_times, has, must

if TYPE_CHECKING:
    from workflows.execution.schedule import Entry


class Cron:
    """The user's crontab. Each entry stands between two comments with its name."""

    name = "cron"
    program = "crontab"

    def there(self) -> bool:
        """Say whether there is a crontab that this user may change."""
        if not has(self.program):
            return False
        try:
            self._lines()
        except InputError:
            return False
        return True

    def text(self, entry: Entry) -> str:
        """Return the lines of an entry."""
        begin, end = _marks(entry)
        times = cron_times(entry.minutes, entry.name)
        return "\n".join([begin, *self.options(entry), f"{times} {entry.shell}", end]) + "\n"

    def options(self, entry: Entry) -> list[str]:
        """Return the lines before the entry."""
        return []

    def install(self, entry: Entry) -> str:
        """Put an entry at the end of the table, instead of an older one of its name."""
        text = self.text(entry)
        lines, _ = _without(self._lines(), entry)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        self._write([*lines, text])
        return f"{self.program} -l shows it"

    def remove(self, entry: Entry) -> bool:
        """Take an entry out; all other lines stay as they are."""
        lines, found = _without(self._lines(), entry)
        if found:
            self._write(lines)
        return found

    def _lines(self) -> list[str]:
        done = call(self.program, "-l")
        if done.returncode and "no crontab" not in done.stderr.lower():
            # never taken for an empty table: writing would lose what is there
            words = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise InputError(f"{self.program} -l: {words}; nothing was changed")
        return [] if done.returncode else done.stdout.splitlines(keepends=True)

    def _write(self, lines: list[str]) -> None:
        with tempfile.NamedTemporaryFile("w", suffix=".crontab", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            must(self.program, str(Path(file.name)))


class Scrontab(Cron):
    """Slurm's crontab, whose entries run as jobs."""

    name = "scrontab"
    program = "scrontab"

    def options(self, entry: Entry) -> list[str]:
        """Return what is asked of Slurm; it counts for the next entry only."""
        return [
            f"#SCRON --job-name={entry.name}",
            f"#SCRON --output={shlex.quote(str(entry.log))}",
            "#SCRON --open-mode=append",
            *(f"#SCRON {option}" for option in entry.slurm),
        ]


def _marks(entry: Entry) -> tuple[str, str]:
    return f"# >>> {entry.name}", f"# <<< {entry.name}"


def _without(lines: list[str], entry: Entry) -> tuple[list[str], bool]:
    """Return the lines outside an entry, and whether it was there."""
    begin, end = _marks(entry)
    kept, inside, found = [], False, False
    names = [line.strip() for line in lines]
    for i, line in enumerate(lines):
        # a mark without its partner was edited by hand: only that line goes
        if names[i] == begin:
            found = True
            rest = names[i + 1 :]
            following = rest[: rest.index(begin)] if begin in rest else rest
            inside = end in following
        elif names[i] == end:
            found, inside = True, False
        elif not inside:
            kept.append(line)
    return kept, found
