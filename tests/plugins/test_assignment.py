import subprocess
import sys

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


@pytest.mark.parametrize(
    "gain", [[[0.9, 0.2], [0.1, 0.8]], [[0.9, 0.0], [0.5, 0.0]]], ids=["each row has its own best", "each column has"]
)
def test_where_the_answer_is_plain_scipy_is_not_loaded(gain):
    program = (
        "import sys, numpy as np\n"
        "from framehook_plugins.trackers.assignment import assign\n"
        f"gain = np.array({gain})\n"
        "print(*assign(gain, gain > 0), 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("False\n")
