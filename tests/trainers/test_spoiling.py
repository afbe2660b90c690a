import cv2
import numpy as np
import pytest
import torch

from framehook_trainers.draws import seeded
from framehook_trainers.spoiling import spoil

PLAIN = {"noise_share": 0.0, "noise": (1.0, 1.0), "block_share": 0.0, "quality": (50.0, 50.0)}


def pictures(n=4, side=112):
    coarse = np.random.default_rng(0).integers(60, 196, (n, 14, 14, 3), np.uint8)
    return np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in coarse])


def spoiled(images, seed=0, **how):
    views = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return spoil(views, **PLAIN | how, generator=seeded(seed)).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("side", [112, 100, 64], ids=str)
def test_at_full_size_nothing_changes(side):
    images = pictures(side=side)

    np.testing.assert_allclose(spoiled(images, sides=(side, side)), images, atol=0.01)


@pytest.mark.parametrize("smaller", [18, 45, 56, 111], ids=str)
def test_shrinking_and_enlarging_are_those_of_opencv(smaller):
    images = pictures()

    for view, image in zip(spoiled(images, sides=(smaller, smaller)), images.astype(np.float32), strict=True):
        shrunk = cv2.resize(image, (smaller, smaller), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(view, cv2.resize(shrunk, (112, 112), interpolation=cv2.INTER_LINEAR), atol=0.05)


@pytest.mark.parametrize("quality", [25, 50, 75], ids=str)
def test_blocks_are_those_of_a_jpeg_encoder(quality):
    images = pictures()

    views = spoiled(images, sides=(112, 112), block_share=1.0, quality=(quality, quality))

    for view, image in zip(views, images, strict=True):
        how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        wanted = cv2.imdecode(cv2.imencode(".jpg", image[..., ::-1], how)[1], cv2.IMREAD_COLOR)[..., ::-1]
        difference = np.abs(view - wanted)
        assert difference.mean() < 1  # the encoder rounds Y, Cb and Cr, and the picture at its end
        assert difference.mean() < np.abs(image.astype(float) - wanted).mean() / 2


def test_noise_is_as_strong_as_told_and_white():
    grey = np.full((8, 112, 112, 3), 128, np.uint8)

    noise = spoiled(grey, sides=(112, 112), noise_share=1.0, noise=(5.0, 5.0)) - 128

    assert noise.std() == pytest.approx(5, rel=0.02)
    neighbours = np.corrcoef(noise[:, :, :-1].ravel(), noise[:, :, 1:].ravel())[0, 1]
    assert neighbours == pytest.approx(0, abs=0.01)


def test_views_of_one_batch_differ_in_how_much_is_lost():
    image = np.random.default_rng(0).integers(0, 256, (1, 112, 112, 3), np.uint8)

    views = spoiled(image.repeat(40, axis=0), sides=(18, 112))
    detail = views.std(axis=(1, 2, 3))

    assert detail.max() > 2 * detail.min()
    assert len(np.unique(detail.round(3))) > 20


@pytest.mark.parametrize("n", [1, 3], ids=str)
def test_a_few_views_are_enough(n):
    assert spoiled(pictures(n), sides=(18, 112), noise_share=0.5, block_share=0.5).shape == (n, 112, 112, 3)
