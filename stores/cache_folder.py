"""Where everything that can be made again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return ``$MGSURF_CACHE``, else ``mgsurf`` in the user's cache folder; it need not exist."""
    given = os.environ.get("MGSURF_CACHE")
    folder = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mgsurf"
    return folder.expanduser()
