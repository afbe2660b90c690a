import copy

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from framehook import OptionError, UsageError
from framehook_plugins.agegender.inference import fuse_batch_norms
from framehook_plugins.agegender.networks import NETWORKS, VGG16, ResNet18, ResNet34, TwoBranch, WideResNet, build
from framehook_plugins.agegender.outputs import AgeClasses, AgeValue, GenderLogit, GenderSoftmax, Outputs
from framehook_plugins.agegender.pixels import CHANNELS, Normalisation

ANY = Outputs(age=AgeClasses(brackets=((0, 20), (21, 40), (41, 60))), gender=GenderSoftmax())


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def without_memory(make, *arguments, **options):
    """A network whose tensors have shapes but no numbers, however large it is."""
    with torch.device("meta"):
        return make(*arguments, **options).eval()


def test_the_two_branch_network_has_the_published_number_of_parameters():
    assert parameters(without_memory(TwoBranch)) == 6_515_714


def test_the_wide_network_has_the_published_number_of_parameters():
    assert f"{parameters(without_memory(WideResNet)) / 1e6:.2f}" == "24.46"


def test_vgg16_has_the_published_number_of_parameters_below_its_heads():
    network = without_memory(VGG16, batch_norm=False)

    published, last_layer = 138_357_544, 4096 * 1000 + 1000
    assert parameters(network.features) + parameters(network.dense) == published - last_layer


def test_a_narrower_vgg16_is_an_eighth_as_large():
    assert parameters(without_memory(VGG16, width=64)) < parameters(without_memory(VGG16)) / 8


@pytest.mark.parametrize(("make", "published"), [(ResNet18, 11_689_512), (ResNet34, 21_797_672)], ids=["18 layers", "34 layers"])
def test_the_stages_of_a_resnet_have_the_published_number_of_parameters(make, published):
    stem_and_last_layer = 7 * 7 * 3 * 64 + 2 * 64 + 512 * 1000 + 1000

    assert parameters(without_memory(make, width=64).stages) == published - stem_and_last_layer


@pytest.mark.parametrize(
    ("architecture", "channels", "size", "options"),
    [
        ("recognition", 3, 150, {}),
        ("recognition", 3, 103, {"input_size": 103}),
        ("resnet", 3, 112, {"blocks": (1, 2, 3, 1), "width": 8}),
        ("resnet", 3, 97, {"width": 8, "blur": True}),
        ("resnet18", 3, 112, {}),
        ("resnet34", 3, 224, {}),
        ("separable", 3, 180, {}),
        ("separable", 3, 198, {}),
        ("twobranch", 1, 64, {}),
        ("twobranch", 1, 49, {"input_size": 49}),
        ("vgg16", 3, 64, {"width": 512}),
        ("vgg16", 3, 224, {}),
        ("wide-resnet", 3, 64, {}),
        ("wide-resnet", 3, 49, {"input_size": 49, "depth": 22, "width": 1}),
    ],
)
@pytest.mark.parametrize("outputs", [ANY, Outputs(age=AgeValue(std=5), gender=GenderLogit())], ids=["classes", "values"])
def test_each_network_takes_its_size_and_has_heads_of_the_asked_sizes(architecture, channels, size, options, outputs):
    network = without_memory(build, architecture, outputs=outputs, **options)

    prediction = network(torch.empty(5, channels, size, size, device="meta"))

    assert prediction.age.shape == (5, outputs.age.size)
    assert prediction.gender.shape == (5, outputs.gender.size)


def test_a_gradient_reaches_every_parameter(small_header, small_network, architecture):
    header = small_header(architecture)
    network = small_network(header).train()

    age, gender = network(torch.randn(4, len(header.mean), header.input_size, header.input_size))
    (age.square().sum() + gender.square().sum()).backward()

    without = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert without == []


def test_fused_networks_say_the_same(small_header, small_network, architecture):
    header = small_header(architecture)
    network = small_network(header)
    fused = copy.deepcopy(network)
    pixels = torch.randn(4, len(header.mean), header.input_size, header.input_size)

    fuse_batch_norms(fused)

    with torch.inference_mode():
        for got, wanted in zip(fused(pixels), network(pixels), strict=True):
            torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    # Where blocks normalise first, the first norm of each of the three and the one after them have no convolution before them.
    assert left == (4 if architecture == "wide-resnet" else 0)


def test_each_network_is_made_without_options(architecture):
    network = without_memory(NETWORKS[architecture])

    side = network.input_size or 64
    prediction = network(torch.empty(1, CHANNELS[network.colour], side, side, device="meta"))

    assert prediction.age.shape[0] == prediction.gender.shape[0] == 1


def test_the_tensors_of_resnet18_keep_their_names():
    names = set(without_memory(ResNet18).state_dict())

    assert {"stem.0.weight", "stem.4.running_var", "stages.1.0.shortcut.0.weight", "stages.3.1.body.4.bias"} <= names
    assert {name.split(".")[0] for name in names} == {"stem", "stages", "age", "gender"}


def smoothed(features):
    """What a binomial filter of 3 x 3 makes of them."""
    binomial = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([1.0, 2, 1])) / 16
    padded = functional.pad(features, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, binomial.expand(features.shape[1], 1, 3, 3), groups=features.shape[1])


def test_a_blurred_resnet_smooths_what_it_steps_over_but_not_the_pixels():
    plain, blurred = (build("resnet", outputs=ANY, width=4, blur=blur).eval() for blur in (False, True))
    for parameter in plain.parameters():
        nn.init.normal_(parameter)
    blurred.load_state_dict(plain.state_dict())  # the tensors keep their names
    pixels, features = torch.randn(2, 3, 21, 30), torch.randn(2, 4, 11, 14)

    with torch.inference_mode():
        torch.testing.assert_close(blurred.stem(pixels), plain.stem[3:](smoothed(plain.stem[:3](pixels))))
        torch.testing.assert_close(blurred.stages[0](features), plain.stages[0](features))
        torch.testing.assert_close(blurred.stages[1][0](features), plain.stages[1][0](smoothed(features)))


def test_a_network_that_is_not_there_is_told_with_the_nearest():
    with pytest.raises(UsageError, match=r"no network 'resnet19'; did you mean 'resnet18'\? \(there are: recognition, resnet, "):
        build("resnet19", outputs=ANY)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"widht": 4}, r"network 'resnet18' has no option 'widht'; did you mean 'width'\?"),
        ({"width": "wide"}, r"network 'resnet18': option 'width' got 'wide': input should be a valid integer"),
        ({"dropout": 1.0}, r"option 'dropout' got 1\.0: input should be less than 1"),
    ],
    ids=["unknown", "of another type", "out of range"],
)
def test_an_option_that_a_network_does_not_take_is_told(options, why):
    with pytest.raises(OptionError, match=why):
        build("resnet18", outputs=ANY, **options)


def test_colour_pixels_are_normalised_channel_by_channel():
    pixels = torch.tensor([[[[255, 51, 0]]]], dtype=torch.uint8).expand(2, 4, 5, 3).contiguous()

    planes = Normalisation(colour="RGB", mean=(0.5, 0.2, 0.1), std=(0.25, 0.5, 0.1))(pixels)

    assert planes.shape == (2, 3, 4, 5)
    assert planes.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(planes[1, :, 3, 4], torch.tensor([2.0, 0.0, -1.0]))


def test_grey_pixels_are_those_of_opencv():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)

    planes = Normalisation(colour="grey", mean=(0.0,), std=(1.0,))(torch.from_numpy(image)[None])

    assert planes.shape == (1, 1, 20, 30)
    np.testing.assert_allclose(planes[0, 0] * 255, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), atol=0.51)


def test_normalising_leaves_the_pixels_as_they_were():
    pixels = torch.full((1, 4, 4, 3), 100.0)

    Normalisation(colour="RGB", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(pixels)

    assert (pixels == 100).all()
