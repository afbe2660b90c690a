import numpy as np
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn
from torch.nn import functional

from framehook_plugins.mtcnn import networks
from framehook_plugins.mtcnn.area import AreaPool


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)


def network_input(pixels):
    """As the reference wants it: (n, 3, h, w) of about -1 to 1."""
    return (torch.from_numpy(pixels[..., :3]).permute(0, 3, 1, 2) - 127.5) / 128


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(10, 10), (11, 10), (10, 11), (11, 13), (3, 3)], ids=str)
def test_slices_pool_as_windows_do(kernel, size):
    features = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    expected = nn.MaxPool2d(kernel, 2, ceil_mode=True)(features)
    assert torch.equal(networks.SliceMaxPool(kernel)(features), expected)


@pytest.mark.parametrize("size", [(12, 12), (13, 30), (61, 83), (64, 40)], ids=str)
def test_proposals_are_those_of_the_reference(picture, size):
    pixels = AreaPool(picture).whole(*size)[None]
    with torch.inference_mode():
        offsets, probabilities = networks.proposal_network()(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        expected_offsets, expected_probabilities = PNet().eval()(network_input(pixels))
    torch.testing.assert_close(offsets, expected_offsets, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(probabilities[:, 0], expected_probabilities[:, 1], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("ours", "reference", "side"),
    [(networks.rejection_network, RNet, 24), (networks.refinement_network, ONet, 48)],
    ids=["R-Net", "O-Net"],
)
def test_crops_are_judged_as_by_the_reference(picture, ours, reference, side):
    boxes = np.array([[0, 0, 83, 61], [10, 5, 34, 29], [3, 40, 9, 44], [82, 60, 83, 61]])
    crops = AreaPool(picture).crops(boxes, side)
    with torch.inference_mode():
        outputs = ours()(torch.from_numpy(crops).permute(0, 3, 1, 2))
        expected = reference().eval()(network_input(crops))
    for one, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(61, 83), (30, 41), (7, 100), (1, 1), (100, 90)], ids=str)
def test_averages_are_those_of_adaptive_pooling(picture, size):
    exact = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    expected = functional.adaptive_avg_pool2d(exact, size)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(AreaPool(picture).whole(*size)[..., :3], expected, rtol=2e-7)
    crop = AreaPool(np.pad(picture, ((3, 2), (5, 1), (0, 0)))).crops(np.array([[5, 3, 88, 64]]), 24)[0, ..., :3]
    expected = functional.adaptive_avg_pool2d(exact, (24, 24))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(crop, expected, rtol=2e-7)


def test_a_tall_picture_is_proposed_on_in_strips_as_on_the_whole():
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 301, 400, 4)).astype(np.float32)).permute(0, 3, 1, 2)
    strips = networks.proposal_network()
    with torch.inference_mode():
        offsets, probabilities = strips(pixels)
        expected_offsets, expected_probabilities = strips._network(pixels)
    torch.testing.assert_close(offsets, expected_offsets, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(probabilities, expected_probabilities, atol=1e-6, rtol=1e-5)
