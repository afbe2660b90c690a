import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from framehook_plugins.trackers.assignment import assign


@pytest.mark.parametrize("seed", range(200))
def test_no_other_pairs_gain_more(seed):
    random = np.random.default_rng(seed)
    gain = random.integers(0, 10, random.integers(0, 7, 2)) / 10
    allowed = random.random(gain.shape) < random.random()

    rows, columns = assign(gain, allowed)

    assert allowed[rows, columns].all()
    assert len(np.unique(rows)) == len(np.unique(columns)) == len(rows) == len(columns)
    most = np.where(allowed, gain, 0)
    assert gain[rows, columns].sum() == pytest.approx(most[linear_sum_assignment(most, maximize=True)].sum())


def test_a_pair_that_gains_nothing_is_still_one():
    rows, columns = assign(np.zeros((1, 2)), np.array([[False, True]]))

    assert (rows.tolist(), columns.tolist()) == ([0], [1])


def test_a_crowd_is_paired_as_well_as_can_be():
    random = np.random.default_rng(0)
    for shape in ((60, 60), (40, 70), (70, 40)):
        gain = random.random(shape)
        rows, columns = assign(gain, gain > 0.5)
        most = np.where(gain > 0.5, gain, 0)
        assert gain[rows, columns].sum() == pytest.approx(most[linear_sum_assignment(most, maximize=True)].sum())
