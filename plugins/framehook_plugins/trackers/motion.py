"""Where tracks are going: a Kalman filter for all of them at once.

Kalman, "A New Approach to Linear Filtering and Prediction Problems" (1960), with nearly constant velocity. Lengths are told in
the boxes' own sizes, so that near and far faces share one set of constants, and time in seconds, so that the frame rate may
vary. Both axes are alike and independent: one 2 x 2 covariance serves a track, and no matrix is inverted.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

STATE = np.dtype(
    [
        ("centre", np.float64, 2),  # pixels
        ("velocity", np.float64, 2),  # pixels per second
        ("extent", np.float64, 2),  # width and height in pixels
        ("covariance", np.float64, 3),  # of position, of position with velocity, of velocity; in sizes and seconds
    ]
)

Boxes: TypeAlias = NDArray[np.float64]
States: TypeAlias = NDArray[np.void]
"""(n,) of `STATE`."""

_MEASUREMENT = 0.03**2  # variance of a detected centre: MTCNN's boxes on a still head scatter by 2 to 3 % of their size
_FIRST_VELOCITY = 6.0**2  # variance of the velocity of what was seen once: at 12.5 frames/s a face may move by its own size
_ACCELERATION = 20.0  # spectral density in sizes² / s³: real clips keep their ids from 25 frames/s down to 3; with 10 they do not
_DAMPING_SECONDS = 0.5  # heads turn back: on real clips this predicts all gaps up to a second better than 1 or 3 s do
_EXTENT_GAIN = 0.5


def start(boxes: Boxes) -> States:
    """Return the states of boxes (n, 4) that were seen for the first time."""
    states = np.zeros(len(boxes), STATE)
    states["centre"] = (boxes[:, 0:2] + boxes[:, 2:4]) / 2
    states["extent"] = boxes[:, 2:4] - boxes[:, 0:2]
    states["covariance"] = _MEASUREMENT, 0, _FIRST_VELOCITY
    return states


def advance(states: States, seconds: NDArray[np.float64]) -> States:
    """Return the states after these times, (n,).

    The velocity v decays as exp(-t / T), so that the way in t seconds is v T (1 - exp(-t / T)).
    """
    keep = np.exp(-seconds / _DAMPING_SECONDS)
    way = _DAMPING_SECONDS * (1 - keep)
    later = states.copy()
    later["centre"] += states["velocity"] * way[:, None]
    later["velocity"] *= keep[:, None]
    position, both, velocity = states["covariance"].T
    later["covariance"] = np.stack(
        [
            position + 2 * way * both + way**2 * velocity + _ACCELERATION * seconds**3 / 3,
            keep * (both + way * velocity) + _ACCELERATION * seconds**2 / 2,
            keep**2 * velocity + _ACCELERATION * seconds,
        ],
        axis=1,
    )
    return later


def correct(states: States, boxes: Boxes) -> States:
    """Return the states, advanced to now, after these boxes (n, 4) were seen."""
    position, both, velocity = states["covariance"].T
    total = position + _MEASUREMENT
    better = states.copy()
    surprise = (boxes[:, 0:2] + boxes[:, 2:4]) / 2 - states["centre"]
    better["centre"] += (position / total)[:, None] * surprise
    better["velocity"] += (both / total)[:, None] * surprise
    better["extent"] += _EXTENT_GAIN * (boxes[:, 2:4] - boxes[:, 0:2] - states["extent"])
    better["covariance"] = np.stack(
        [position * _MEASUREMENT / total, both * _MEASUREMENT / total, velocity - both**2 / total], axis=1
    )
    return better


def boxes_of(states: States) -> Boxes:
    """Return the states as boxes, (n, 4)."""
    half = states["extent"] / 2
    return np.concatenate([states["centre"] - half, states["centre"] + half], axis=1)


def spread(states: States) -> NDArray[np.float64]:
    """Return how far off a detection may well be, (n,): the standard deviation in sizes."""
    return np.asarray(np.sqrt(states["covariance"][:, 0] + _MEASUREMENT))
