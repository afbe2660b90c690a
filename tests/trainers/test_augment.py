import cv2
import numpy as np
import pytest
import torch

from framehook import UsageError
from framehook_trainers.augment import Augmentation, augment, mixup
from framehook_trainers.draws import seeded

NOTHING = {
    "rotation_degrees": 0,
    "scale": (1, 1),
    "shift": 0,
    "flip_share": 0,
    "contrast": (1, 1),
    "white_balance": 0,
    "offset_levels": 0,
    "grey_share": 0,
    "spoil_share": 0,
    "erase_share": 0,
}
MOVED = NOTHING | {"rotation_degrees": 15, "scale": (0.87, 1.17), "shift": 0.07, "flip_share": 0.5}


def patterns(n, side=128):
    coarse = np.random.default_rng(0).integers(40, 216, (n, 12, 12, 3), np.uint8)
    return torch.from_numpy(np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in coarse]))


def views(pixels, size=112, covers=112, seed=0, **changed):
    return augment(pixels, Augmentation(**changed), covers=covers, size=size, generator=seeded(seed))


def difference(one, other):
    return (one.int() - other.int()).abs()


def test_without_a_change_a_view_is_the_middle_of_the_stored_crop():
    pixels = patterns(3)

    assert views(pixels, **NOTHING).equal(pixels[:, 8:120, 8:120])


def test_a_smaller_view_is_the_middle_shrunk():
    pixels = patterns(3)

    smaller = views(pixels, size=56, **NOTHING)

    for view, crop in zip(smaller, pixels, strict=True):
        wanted = cv2.resize(crop[8:120, 8:120].numpy(), (56, 56), interpolation=cv2.INTER_AREA)
        assert difference(view, torch.from_numpy(wanted))[2:-2, 2:-2].float().mean() < 1.5


def test_beyond_the_crop_the_edge_is_repeated():
    pixels = patterns(2)

    view = views(pixels, covers=256, size=256, **NOTHING)

    assert view[:, 64:192, 64:192].equal(pixels)
    assert view[:, :64, 64:192].equal(pixels[:, :1].expand(-1, 64, -1, -1))


def test_half_of_the_views_are_mirrored():
    pixels = patterns(1)[:, 8:120, 8:120].expand(400, -1, -1, -1)

    mirrored = (views(pixels, **NOTHING | {"flip_share": 0.5}) == pixels.flip(2)).flatten(1).all(dim=1)

    assert 0.4 < mirrored.float().mean() < 0.6


def test_a_turn_is_the_one_that_opencv_makes():
    pixels = patterns(8)
    turned = views(pixels, **NOTHING | {"rotation_degrees": 30})

    best = []
    for view, crop in zip(turned, pixels.numpy(), strict=True):
        errors = []
        for degrees in np.arange(-30, 30.1, 0.5):
            matrix = cv2.getRotationMatrix2D((63.5, 63.5), degrees, 1)
            whole = cv2.warpAffine(crop, matrix, (128, 128), borderMode=cv2.BORDER_REPLICATE)
            errors.append(difference(view, torch.from_numpy(whole[8:120, 8:120])).float().mean().item())
        best.append(min(errors))
    assert max(best) < 1.5
    assert difference(turned, pixels[:, 8:120, 8:120]).float().mean() > 5


@pytest.mark.parametrize("size", [112, 80])
def test_views_show_the_face_where_and_as_large_as_it_is_on_average(size):
    stored = np.zeros((128, 128, 3), np.uint8)
    cv2.circle(stored, (64, 64), 20, (255, 255, 255), -1)

    mean = views(torch.from_numpy(stored).expand(200, -1, -1, -1), size=size, **MOVED).float().mean(dim=(0, 3)).numpy()

    rows, columns = np.indices(mean.shape)
    middle = (size - 1) / 2
    assert (rows * mean).sum() / mean.sum() == pytest.approx(middle, abs=2)
    assert (columns * mean).sum() / mean.sum() == pytest.approx(middle, abs=2)
    assert 2 * np.sqrt((mean > mean.max() / 2).sum() / np.pi) == pytest.approx(41 * size / 112, rel=0.1)


def test_colours_change_by_as_much_as_is_allowed():
    grey = torch.full((300, 16, 16, 3), 128, dtype=torch.uint8)

    lighter = views(grey, size=16, covers=16, **NOTHING | {"offset_levels": 25}).float()[:, 8, 8]
    contrasted = views(grey // 2, size=16, covers=16, **NOTHING | {"contrast": (0.5, 1.5)}).float()[:, 8, 8]
    brighter = views(grey // 2, size=16, covers=16, **NOTHING | {"brightness": (0.6, 1.4)}).float()[:, 8, 8]

    for values, (low, high) in ((lighter, (103, 153)), (contrasted, (32, 96)), (brighter, (38.4, 89.6))):
        assert (values.min().item(), values.max().item()) == pytest.approx((low, high), abs=2)
        assert (values[:, 0] == values[:, 2]).all()


def test_white_balance_moves_the_channels_apart():
    light = torch.full((300, 16, 16, 3), 228, dtype=torch.uint8)

    channels = views(light, size=16, covers=16, **NOTHING | {"white_balance": 0.08}).float()[:, 8, 8]

    assert (channels.min().item(), channels.max().item()) == pytest.approx((220, 236), abs=1)
    assert (channels[:, 0] != channels[:, 2]).float().mean() > 0.8


def test_a_share_of_the_views_is_grey():
    some = views(patterns(20).repeat(10, 1, 1, 1), size=32, **NOTHING | {"grey_share": 0.3})

    grey = (some[..., 0] == some[..., 2]).flatten(1).all(dim=1)
    assert 0.2 < grey.float().mean() < 0.4
    middle = patterns(20).repeat(10, 1, 1, 1)
    wanted = views(middle, size=32, **NOTHING).float() @ torch.tensor([0.299, 0.587, 0.114])
    assert (some[grey][..., 0] - wanted[grey]).abs().max() <= 1


def test_a_share_of_the_views_is_covered_by_a_piece_of_one_colour():
    pixels = patterns(200, side=64)

    covered = views(pixels, size=64, covers=64, **NOTHING | {"erase_share": 0.4, "erase_sides": (0.25, 0.5)})
    changed = (covered != pixels).any(dim=3)

    some = changed.flatten(1).any(dim=1)
    assert 0.3 < some.float().mean() < 0.5
    for view, where in zip(covered[some], changed[some], strict=True):
        rows, columns = where.nonzero().unbind(dim=1)
        piece = view[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (piece == piece[0, 0]).all()
        assert all(15 <= side <= 33 for side in piece.shape[:2])


def test_a_share_of_the_views_is_spoiled():
    pixels = patterns(100)

    spoiled = (views(pixels, **NOTHING | {"spoil_share": 0.5}) != pixels[:, 8:120, 8:120]).flatten(1).any(dim=1)

    assert 0.35 < spoiled.float().mean() < 0.65


def test_views_are_the_same_for_the_same_seed_only():
    pixels = patterns(40)

    assert views(pixels).equal(views(pixels))
    assert not views(pixels).equal(views(pixels, seed=1))


def test_views_do_not_depend_on_the_number_of_threads():
    pixels, threads = patterns(40), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = views(pixels)
        torch.set_num_threads(3)
        together = views(pixels)
    finally:
        torch.set_num_threads(threads)

    assert alone.equal(together)


def test_views_are_the_same_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = views(patterns(20))

    assert under.equal(views(patterns(20)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scale": (1.2, 0.8)}, r"scale must be two numbers above 0, the smaller one first; got 1\.2 and 0\.8"),
        ({"flip_share": 1.5}, r"flip_share must be 0 to 1, got 1\.5"),
    ],
    ids=["range", "share"],
)
def test_ranges_that_cannot_be_meant_are_refused(changed, message):
    with pytest.raises(UsageError, match=message):
        Augmentation(**changed)


def test_mixup_blends_faces_and_what_is_said_of_them():
    pixels, targets = patterns(64, side=8), torch.eye(64)

    mixed = mixup(pixels, alpha=0.4, generator=seeded(0))
    blended = mixed.blend(targets, targets[mixed.partners])

    assert mixed.pixels.dtype == torch.uint8
    assert difference(mixed.pixels.flatten(1), (blended @ pixels.flatten(1).float()).round()).max() <= 1
    torch.testing.assert_close(blended.sum(dim=1), torch.ones(64))
    assert sorted(mixed.partners.tolist()) == list(range(64))
    known = torch.arange(64) != 5
    assert (~mixed.known(known)).nonzero().flatten().tolist() == sorted({5, mixed.partners.tolist().index(5)})


def test_mixup_draws_its_shares_from_the_beta_distribution():
    shares = mixup(torch.zeros(4000, 1, 1, 3, dtype=torch.uint8), alpha=0.4, generator=seeded(0)).shares

    assert shares.mean().item() == pytest.approx(0.5, abs=0.03)
    assert shares.var().item() == pytest.approx(0.25 / (2 * 0.4 + 1), abs=0.01)  # of Beta(a, a): 1 / (4 (2 a + 1))


@pytest.mark.cuda
def test_views_on_cuda_are_those_of_the_cpu(cuda):
    pixels = patterns(12)  # as many as the CPU takes at once: the same draws
    alike = {"noise_share": 0, "block_share": 0}

    there = views(pixels.to(cuda), **alike)

    assert there.device.type == "cuda"
    assert (difference(there.cpu(), views(pixels, **alike)) > 2).float().mean() < 0.001
    assert views(pixels.to(cuda), **alike).equal(there)
