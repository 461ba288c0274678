from __future__ import annotations

from pathlib import Path

from tests.reliability.stores import flip_many, kill_many


def test_kills_lose_double_and_resurrect_nothing(tmp_path: Path) -> None:
    done = kill_many(tmp_path, 16)
    assert done["kills"] >= 16 and done["documents"] >= 16


def test_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    done = flip_many(tmp_path, 24)
    assert done["reported"] + done["without effect"] == done["flips"] == 24
    assert done["reported"] > 5
