"""Weights files of small networks that say different things of different faces."""

import pytest
import torch

from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.networks import build
from framehook_plugins.agegender.outputs import AgeClasses, AgeDistribution, AgeValue, GenderLogit, GenderSoftmax, Outputs

CLASSES = AgeClasses(brackets=((0, 14), (15, 24), (25, 39), (40, 59), (60, 84)))

SMALL = {
    "recognition": {"options": {"input_size": 104}, "input_size": 104},
    "resnet": {"options": {"blocks": [1, 2, 2, 1], "width": 4, "blur": True}, "input_size": 32},
    "resnet18": {"options": {"width": 4}, "input_size": 32},
    "resnet34": {"options": {"width": 4, "dropout": 0.2}, "input_size": 40, "crop_margin": 0.1},
    "separable": {
        "options": {"width": 4},
        "input_size": 48,
        "crop_border": "white",
        "outputs": Outputs(age=CLASSES, gender=GenderSoftmax()),
    },
    "twobranch": {
        "options": {"input_size": 36},
        "input_size": 36,
        "colour": "grey",
        "mean": (0.5,),
        "std": (0.25,),
        "outputs": Outputs(age=AgeValue(offset=33, scale=20, std=7.5), gender=GenderLogit(), gender_temperature=1.5),
    },
    "vgg16": {
        "options": {"width": 16},
        "input_size": 36,
        "outputs": Outputs(age=AgeDistribution(first=10, last=80), gender=GenderSoftmax()),
    },
    "wide-resnet": {
        "options": {"depth": 10, "width": 1, "input_size": 32},
        "input_size": 32,
        "outputs": Outputs(age=AgeDistribution(), gender=GenderSoftmax()),
    },
}
"""For each network a size that is quick, or as quick as it goes, and what of `PLAIN` does not hold for it."""

PLAIN = {
    "input_size": 32,
    "colour": "RGB",
    "mean": (0.5, 0.45, 0.4),
    "std": (0.25, 0.25, 0.25),
    "crop_margin": -0.2,
    "crop_shift": 0.12,
    "crop_border": "edge",
    "outputs": Outputs(age=AgeDistribution(), gender=GenderLogit()),
    "age_range": (1, 100),
    "training_data": "random numbers",
    "licence": "none",
    "recipe": "a test",
    "metrics": {"nothing": {"gender.accuracy": 0.5}},
    "date": "2026-01-01",
}


@pytest.fixture(params=SMALL)
def architecture(request):
    """Each network in turn."""
    return request.param


@pytest.fixture(scope="session")
def small_header():
    """Make the header of a small network; keywords replace its fields."""
    return _small_header


@pytest.fixture(scope="session")
def small_network():
    """Make the network of a header, with weights that tell faces apart."""
    return _small_network


@pytest.fixture
def weights(tmp_path):
    """The file of a small ResNet-18."""
    header = _small_header("resnet18")
    checkpoint.write(tmp_path / "tiny.safetensors", _small_network(header), header)
    return tmp_path / "tiny.safetensors"


def _small_header(architecture, **changes):
    return checkpoint.Header(architecture=architecture, **(PLAIN | SMALL[architecture] | changes))


def _small_network(header, seed=0):
    torch.manual_seed(seed)
    network = build(header.architecture, outputs=header.outputs, **header.options)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.momentum = None  # the statistics of the one batch below, as if trained on it
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(std=0.3)
        for filters in (parameter for parameter in network.parameters() if parameter.ndim > 1 and not parameter.any()):
            filters.normal_(std=0.05)  # as if trained
        for head in (network.age, network.gender):
            for parameter in head.parameters():
                parameter *= 3
        pixels = torch.randn(32, len(header.mean), header.input_size, header.input_size)
        network.train()(pixels)
    return network.eval()
