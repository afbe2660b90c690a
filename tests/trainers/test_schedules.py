import math

import pytest

from framehook import UsageError
from framehook_trainers.schedules import Halving, InverseDecay, OneCycle, Phases, StepDecay, WarmCosine


def rates(schedule, steps):
    return [schedule.rate(step) for step in steps]


def test_step_decay_is_its_formula():
    schedule = StepDecay(start=0.1, steps_per_epoch=10, milestones=(2, 5), factor=0.2)

    assert rates(schedule, [0, 19, 20, 49, 50, 500]) == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004])


def test_step_decay_without_milestones_is_constant():
    assert rates(StepDecay(start=0.1, steps_per_epoch=10), [0, 1000]) == [0.1, 0.1]


def test_halving_is_its_formula():
    schedule = Halving(start=0.008, steps_per_epoch=7, every_epochs=5)

    assert rates(schedule, [0, 34, 35, 69, 70]) == pytest.approx([0.008, 0.008, 0.004, 0.004, 0.002])


def test_inverse_decay_is_its_formula():
    schedule = InverseDecay(start=0.01, steps_per_epoch=10, decay=0.5)

    assert rates(schedule, [0, 9, 10, 40]) == pytest.approx([0.01, 0.01, 0.01 / 1.5, 0.01 / 3])


def test_warm_cosine_is_its_formula():
    schedule = WarmCosine(peak=1.0, steps=110, warm_up_steps=10, end=0.1)

    assert rates(schedule, range(10)) == pytest.approx([(step + 1) / 10 for step in range(10)])
    for step in range(10, 111):
        assert schedule.rate(step) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * (step - 10) / 100)) / 2)
    assert schedule.rate(110) == schedule.rate(200) == pytest.approx(0.1)


def test_one_cycle_is_its_formula():
    schedule = OneCycle(peak=0.002, steps=100, rising=0.2, start=0.04)

    for step in range(20):
        assert schedule.rate(step) == pytest.approx(0.002 * (0.04 + 0.96 * step / 20))
    for step in range(20, 101):
        assert schedule.rate(step) == pytest.approx(0.002 * (1 + math.cos(math.pi * (step - 20) / 80)) / 2)


def test_phases_begin_anew():
    first, then = (Halving(start=start, steps_per_epoch=1, every_epochs=2) for start in (0.008, 0.002))
    schedule = Phases(phases=((4, first), (4, then)))

    assert rates(schedule, range(10)) == [first.rate(step) for step in range(4)] + [then.rate(step) for step in range(6)]


def test_a_warm_up_must_leave_steps():
    with pytest.raises(UsageError, match="warm_up_steps must be 0 to 9 of 10 steps, got 10"):
        WarmCosine(peak=1.0, steps=10, warm_up_steps=10)


def test_a_cycle_rises_for_a_share():
    with pytest.raises(UsageError, match=r"rising must lie between 0 and 1, got 1\.0"):
        OneCycle(peak=1.0, steps=10, rising=1.0)
