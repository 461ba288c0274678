import numpy as np
import pytest

from model.compositions.element_properties import element_properties
from model.compositions.features import STATISTICS, composition_features
from model.compositions.formulas import parse_composition, plain_composition
from model.compositions.image import (
    LAYOUTS,
    SIDE,
    composition_images,
    likeness,
    property_cells,
    reference_features,
)
from stores.errors import InputError

NAMES = element_properties().names


@pytest.fixture(scope="module")
def reference():
    return reference_features()


def mean_of_neighbours(alike, cells):
    """Mean likeness of properties in cells that share an edge."""
    property_in = np.full(SIDE * SIDE, -1)
    property_in[cells] = np.arange(len(cells))
    grid = property_in.reshape(SIDE, SIDE)
    pairs = np.concatenate(
        [np.stack([a.ravel(), b.ravel()]).T for a, b in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]))]
    )
    pairs = pairs[(pairs >= 0).all(axis=1)]
    return alike[pairs[:, 0], pairs[:, 1]].mean()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_property_has_a_cell_of_its_own(reference, layout):
    cells = property_cells(reference, layout)
    assert len(set(cells.tolist())) == 58 and cells.min() >= 0 and cells.max() < SIDE * SIDE
    assert np.array_equal(cells, property_cells(reference, layout))


def test_likeness_brings_alike_properties_together(reference):
    alike = likeness(reference)
    by_likeness = mean_of_neighbours(alike, property_cells(reference, "likeness"))
    by_expert = mean_of_neighbours(alike, property_cells(reference, "expert"))
    by_chance = mean_of_neighbours(alike, property_cells(reference, "random"))
    assert by_likeness > by_expert + 0.05 > by_chance + 0.1
    radius, single = NAMES.index("covalent radius"), NAMES.index("covalent radius, single bond")
    assert alike[radius, single] > 0.9 and alike[radius, radius] == pytest.approx(1)


def test_likeness_follows_the_training_set(reference):
    rows = np.random.default_rng(2).permutation(len(reference))[:300]
    cells = property_cells(reference[rows])
    assert not np.array_equal(cells, property_cells(reference))
    # the order of the compositions does not matter
    assert likeness(reference[rows][::-1]) == pytest.approx(likeness(reference[rows]), abs=1e-6)


def test_constant_properties_are_like_nothing():
    features = composition_features([plain_composition(parse_composition(t).amounts) for t in ("Mg", "MgAl")])
    alike = likeness(features)
    constant = NAMES.index("f valence electrons")
    assert (alike[constant] == 0).all() and np.isfinite(alike).all()
    assert len(set(property_cells(features).tolist())) == 58


def test_grey_values(reference):
    darkest, brightest = reference.min(axis=0), reference.max(axis=0)
    cells = property_cells(reference)
    images = composition_images(reference[:200], cells, darkest, brightest)
    assert images.shape == (200, 7, SIDE, SIDE) and images.dtype == np.float32
    assert images.min() == 0 and images.max() <= 1
    flat = images.reshape(200, 7, -1)
    assert (np.delete(flat, cells, axis=2) == 0).all()
    melting, minimum = NAMES.index("melting point"), STATISTICS.index("minimum")
    column = minimum * 58 + melting
    expected = (reference[:200, column] - darkest[column]) / (brightest[column] - darkest[column])
    assert flat[:, minimum, cells[melting]] == pytest.approx(expected, abs=1e-6)
    # beyond the training set the scale ends; a constant feature is black
    halved = composition_images(reference, cells, darkest, (darkest + brightest) / 2)
    assert halved.max() == 1
    assert (composition_images(darkest[None], cells, darkest, darkest) == 0).all()


def test_unknown_layout(reference):
    with pytest.raises(InputError, match="likeness, expert, random"):
        property_cells(reference, "round")
