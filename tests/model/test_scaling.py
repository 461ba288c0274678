from __future__ import annotations

import pytest
import torch

from model.training.checkpoint import Scaler, target_matrix
from stores.errors import InputError
from tests.model.tiny import tiny_dataset

NAN = float("nan")


def test_scaler_uses_the_labels_there_are_and_undoes_itself():
    values = torch.tensor([[1.0, 10.0], [3.0, NAN], [NAN, 30.0], [5.0, 20.0]], dtype=torch.double)
    scaler = Scaler.fit(values, ("a", "b"))
    assert scaler.mean == pytest.approx((3.0, 20.0))
    scaled = scaler.scale(values)
    assert scaled.nanmean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    torch.testing.assert_close(scaler.unscale(scaled), values, equal_nan=True)


def test_equal_labels_are_not_divided_by_zero():
    assert Scaler.fit(torch.full((3, 1), 2.0, dtype=torch.double), ("a",)).std == (1.0,)


def test_target_without_any_label_is_named():
    with pytest.raises(InputError, match="'b' has no label"):
        Scaler.fit(torch.tensor([[1.0, NAN]], dtype=torch.double), ("a", "b"))


def test_matrix_has_nan_for_missing_labels():
    matrix = target_matrix(tiny_dataset(4, missing=[2]), ("work_function", "surface_energy"))
    assert matrix.shape == (4, 2)
    assert matrix.isnan().nonzero().tolist() == [[2, 0]]
