import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.errors import InputError
from workflows.analysis.vacuum import find_vacuum


def test_centred_slab():
    gap = find_vacuum([8.0, 10.0, 12.0], 20.0)
    assert (gap.bottom, gap.top, gap.width, gap.middle) == (8.0, 12.0, 16.0, 20.0)


def test_slab_cut_by_the_boundary_is_made_whole():
    # atoms at 19, 1, 3 of a 20 A cell: 19, 21, 23
    gap = find_vacuum([1.0, 19.0, 3.0], 20.0)
    assert (gap.bottom, gap.top, gap.width) == (19.0, 23.0, 16.0)
    assert gap.heights == pytest.approx([21.0, 19.0, 23.0])


@given(shift=st.floats(-50, 50, allow_nan=False))
def test_width_is_the_same_wherever_the_slab_lies(shift):
    gap = find_vacuum(np.array([0.0, 2.0, 4.5]) + shift, 20.0)
    assert gap.width == pytest.approx(15.5)
    assert gap.top - gap.bottom == pytest.approx(4.5)
    assert np.diff(gap.heights) == pytest.approx([2.0, 2.5])


def test_no_atoms():
    with pytest.raises(InputError, match="0 atoms"):
        find_vacuum([], 20.0)
