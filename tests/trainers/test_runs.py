import numpy as np
import pytest

from framehook_plugins.agegender.outputs import AgeValue, GenderLogit, Outputs
from framehook_trainers.design import Design
from framehook_trainers.metrics import Answers, Labels
from framehook_trainers.runs import calibrated


@pytest.mark.parametrize(("ages", "std"), [(None, 10.0), ((21, 75), 3.0)], ids=["all ages", "21 to 75"])
def test_the_standard_deviation_is_the_error_on_the_ages_that_are_learnt(ages, std):
    outputs = Outputs(age=AgeValue(offset=40, scale=10, std=1), gender=GenderLogit())
    labelled = np.array([30, 70, 5, 90])
    answers = Answers(age=labelled + np.array([3, -3, np.sqrt(191), np.sqrt(191)]), age_std=np.ones(4), female=np.ones(4))
    labels = Labels(ages=np.stack([labelled, labelled], axis=1), female=np.ones(4, np.int8), races=np.array([""] * 4))

    design = calibrated(Design(architecture="separable", input_size=180, outputs=outputs, ages=ages), answers, labels)

    assert design.outputs.age.std == pytest.approx(std)
