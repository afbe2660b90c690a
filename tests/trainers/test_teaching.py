import pytest
import torch

from framehook import ModelError
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.classifier import find_weights
from framehook_plugins.agegender.networks import build
from framehook_plugins.agegender.outputs import AgeDistribution, GenderLogit, Outputs, Prediction
from framehook_trainers.teaching import Teachers

AGE = AgeDistribution()


@pytest.fixture
def weights(tmp_path):
    """Return a function: a file of small weights, with fields of its header changed."""

    def write(name, **changed):
        small = {"options": {"width": 4}, "input_size": 48}
        header = checkpoint.read_header(find_weights("default")).model_copy(update=small | changed)
        path = tmp_path / f"{name}.safetensors"
        checkpoint.write(path, build(header.architecture, outputs=header.outputs, **header.options), header)
        return path

    return write


def teachers(*weights):
    return Teachers(weights, age=AGE, device=torch.device("cpu"))


def views(size=64):
    return torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_several_teachers_answer_with_their_mean_and_every_second_one_sees_the_mirror_image(weights):
    one, two = weights("one"), weights("two")
    each = [teachers(one).answer(views()), teachers(two).answer(views().flip(2))]
    ages, females = teachers(one, two).answer(views())
    torch.testing.assert_close(ages, (each[0][0] + each[1][0]) / 2)
    torch.testing.assert_close(females, (each[0][1] + each[1][1]) / 2)
    torch.testing.assert_close(ages.sum(dim=1), torch.ones(3))


def test_who_says_what_the_teacher_says_has_learnt_all(weights):
    taught = teachers(weights("one"))
    ages, females = taught.answer(views())
    same = Prediction(ages.log().requires_grad_(), females.logit()[:, None].requires_grad_())
    loss = taught.loss(same, views())
    loss.backward()
    for output in same:
        torch.testing.assert_close(output.grad, torch.zeros_like(output), atol=1e-5, rtol=0)
    assert taught.loss(Prediction(ages.log().roll(9, dims=1), same.gender), views()) > loss


def test_a_teacher_sees_views_at_its_own_size(weights):
    ages, females = teachers(weights("one")).answer(views(40))
    assert (ages.shape, females.shape) == ((3, 101), (3,))


def test_whose_ages_are_told_otherwise_is_no_teacher(weights):
    with pytest.raises(ModelError, match="cannot teach this network: want the age as AgeDistribution"):
        teachers(weights("one", outputs=Outputs(age=AgeDistribution(first=10, last=80), gender=GenderLogit())))
