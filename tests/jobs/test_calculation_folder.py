from __future__ import annotations

import pytest

from stores.errors import InputError
from workflows.jobs.calculate import _alone_in


def test_a_folder_of_somebody_else_is_told_in_one_line(tmp_path):
    (tmp_path / ".lock").mkdir()  # root may open what permissions forbid, but never a folder
    with (
        pytest.raises(
            InputError, match=r"cannot be written: .*; choose another work_dir or correct its permissions"
        ),
        _alone_in(tmp_path),
    ):
        pass
