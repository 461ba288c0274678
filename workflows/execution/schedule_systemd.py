"""A timer of the user's systemd."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from stores.errors import InputError
from workflows.execution.schedule import call, has, must

if TYPE_CHECKING:
    from workflows.execution.schedule import Entry


class SystemdTimer:
    """A service and a timer in the user's folder of units."""

    name = "systemd"

    def there(self) -> bool:
        """Say whether the user's own systemd runs."""
        if not has("systemctl"):
            return False
        try:
            return call("systemctl", "--user", "show-environment").returncode == 0
        except InputError:
            return False

    def text(self, entry: Entry) -> str:
        """Return both units."""
        return "\n".join(f"# {path}\n{text}" for path, text in _units(entry).items())

    def install(self, entry: Entry) -> str:
        """Write the units and start the timer."""
        units = _units(entry)
        for path, text in units.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        must("systemctl", "--user", "daemon-reload")
        must("systemctl", "--user", "enable", f"{entry.name}.timer")
        must("systemctl", "--user", "restart", f"{entry.name}.timer")  # an older one took another interval
        return "systemctl --user list-timers shows it; loginctl enable-linger lets it run while logged out"

    def remove(self, entry: Entry) -> bool:
        """Stop the timer and remove the units."""
        paths = [path for path in _units(entry) if path.exists()]
        if not paths:
            return False
        call("systemctl", "--user", "disable", "--now", f"{entry.name}.timer")
        for path in paths:
            path.unlink()
        must("systemctl", "--user", "daemon-reload")
        return True


def _units(entry: Entry) -> dict[Path, str]:
    """Return service and timer by their paths; see systemd.service(5), .exec(5) and .timer(5)."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd" / "user"
    service = [
        "[Unit]",
        "Description=mgsurf refresh",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={entry.folder}",
        *(f"Environment={_quoted(f'{key}={value}')}" for key, value in sorted(entry.environment.items())),
        # variables are put into arguments, but into neither the program's path nor Environment=
        f"ExecStart={' '.join([_quoted(entry.command[0]), *(_argument(w) for w in entry.command[1:])])}",
        f"StandardOutput=append:{entry.log}",
        f"StandardError=append:{entry.log}",
    ]
    timer = [
        "[Unit]",
        "Description=mgsurf refresh",
        "",
        "[Timer]",
        "OnActiveSec=1min",
        f"OnUnitActiveSec={entry.minutes}min",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    lines = {f"{entry.name}.service": service, f"{entry.name}.timer": timer}
    return {folder / name: "\n".join(text) + "\n" for name, text in lines.items()}


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _argument(word: str) -> str:
    return _quoted(word).replace("$", "$$")
