"""The networks that a weights file can hold, by the name in its header."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from framehook import UsageError, check_options, did_you_mean
from framehook_plugins.agegender.networks.network import Network
from framehook_plugins.agegender.networks.recognition import RecognitionResNet
from framehook_plugins.agegender.networks.resnet import ResNet, ResNet18, ResNet34
from framehook_plugins.agegender.networks.separable import Separable
from framehook_plugins.agegender.networks.twobranch import TwoBranch
from framehook_plugins.agegender.networks.vgg import VGG16
from framehook_plugins.agegender.networks.wide_resnet import WideResNet
from framehook_plugins.agegender.outputs import Outputs

__all__ = [
    "NETWORKS",
    "VGG16",
    "Network",
    "RecognitionResNet",
    "ResNet",
    "ResNet18",
    "ResNet34",
    "Separable",
    "TwoBranch",
    "WideResNet",
    "build",
]

NETWORKS: Mapping[str, type[Network]] = MappingProxyType(
    {
        "recognition": RecognitionResNet,
        "resnet": ResNet,
        "resnet18": ResNet18,
        "resnet34": ResNet34,
        "separable": Separable,
        "twobranch": TwoBranch,
        "vgg16": VGG16,
        "wide-resnet": WideResNet,
    }
)
"""By the word that stands in a header's field `architecture`."""


def build(architecture: str, /, *, outputs: Outputs, **options: Any) -> Network:
    """Return a network with fresh weights.

    Args:
        architecture: a name in `NETWORKS`.
        outputs: what its heads say, and so their sizes.
        options: the other keywords of its class.

    Raises:
        UsageError: an architecture that is not there, or an option that it does not take; names both.
    """
    if architecture not in NETWORKS:
        raise UsageError(
            f"there is no network '{architecture}'{did_you_mean(architecture, NETWORKS)} (there are: {', '.join(NETWORKS)})"
        )
    network = NETWORKS[architecture]
    return network(outputs=outputs, **check_options(f"network '{architecture}'", network, options))
