"""Training views of stored crops: moved, recoloured, spoiled and covered, a batch at once on whatever device holds it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from framehook import UsageError
from framehook_trainers.draws import happens, log_uniform, uniform, upload
from framehook_trainers.spoiling import spoil

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
_AT_ONCE_ON_CPU = 16  # views that fit into a core's cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far views may differ from the crop that inference would cut."""

    rotation_degrees: float = 15.0
    """Most to either side."""
    scale: tuple[float, float] = (0.87, 1.17)
    """Smallest and largest."""
    shift: float = 0.07
    """Most to either side, across and down, as a share of the crop's side."""
    flip_share: float = 0.5
    """Share of mirror images."""
    brightness: tuple[float, float] = (1.0, 1.0)
    """Least and greatest factor about black."""
    contrast: tuple[float, float] = (0.75, 1.25)
    """Least and greatest factor about the middle grey."""
    white_balance: float = 0.08
    """By how much a channel's factor may differ from 1."""
    offset_levels: float = 25.0
    """Most that is added or taken away, of 255."""
    grey_share: float = 0.1
    """Share without colour."""
    spoil_share: float = 0.5
    """Share that is spoiled as distance and video spoil faces; the next five say how."""
    smallest_side: int = 18
    """Fewest pixels that a view is shrunk to before it is enlarged again."""
    noise_share: float = 0.3
    """Share, of the spoiled, with noise."""
    noise_levels: tuple[float, float] = (1.0, 10.0)
    """Least and greatest standard deviation of the noise, of 255."""
    block_share: float = 0.5
    """Share, of the spoiled, that is compressed in blocks."""
    quality: tuple[float, float] = (25.0, 90.0)
    """Least and greatest quality of the compression, as JPEG's encoders count it."""
    erase_share: float = 0.2
    """Share of views with a covered piece."""
    erase_sides: tuple[float, float] = (0.125, 0.5)
    """Least and greatest side of the covered piece, as a share of the view's."""

    def __post_init__(self) -> None:
        for name in ("scale", "brightness", "contrast", "noise_levels", "quality", "erase_sides"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UsageError(f"{name} must be two numbers above 0, the smaller one first; got {low} and {high}")
        for name in ("flip_share", "grey_share", "spoil_share", "noise_share", "block_share", "erase_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} must be 0 to 1, got {getattr(self, name)}")


@torch.no_grad()
def augment(pixels: Tensor, augmentation: Augmentation, *, covers: int, size: int, generator: torch.Generator) -> Tensor:
    """Return a random view of each stored crop, (n, size, size, 3) uint8.

    Args:
        pixels: (n, stored, stored, 3) uint8 RGB.
        augmentation: what may happen to a view.
        covers: pixels of the stored crop's middle that inference would cut.
        size: pixels of the views' sides.
        generator: on the host; drawn from.
    """
    at_once = _AT_ONCE_ON_CPU if pixels.device.type == "cpu" else len(pixels)
    with torch.autocast(pixels.device.type, enabled=False):  # a level of 255 needs more than bfloat16's eight bits
        views = [
            _views(pixels[i : i + at_once], augmentation, covers=covers, size=size, generator=generator)
            for i in range(0, len(pixels), at_once)
        ]
    return torch.cat(views)


def _views(pixels: Tensor, augmentation: Augmentation, *, covers: int, size: int, generator: torch.Generator) -> Tensor:
    views = _move(pixels.permute(0, 3, 1, 2), augmentation, covers=covers, size=size, generator=generator)
    views = _recolour(views, augmentation, generator=generator)
    rows = happens(len(views), augmentation.spoil_share, generator=generator)
    if len(rows):
        there = upload(rows, views.device)
        views[there] = spoil(
            views[there].clamp_(0, 255),
            sides=(min(augmentation.smallest_side, size), size),
            noise_share=augmentation.noise_share,
            noise=augmentation.noise_levels,
            block_share=augmentation.block_share,
            quality=augmentation.quality,
            generator=generator,
        )
    _erase(views, augmentation, generator=generator)
    return views.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _move(stored: Tensor, augmentation: Augmentation, *, covers: int, size: int, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shift and mirror about the middle; where a view reaches beyond the crop, its edge is repeated."""
    n, side = len(stored), stored.shape[-1]
    most = math.radians(augmentation.rotation_degrees)
    angles = uniform(n, -most, most, generator=generator)
    scales = log_uniform(n, *augmentation.scale, generator=generator)
    mirrors = torch.ones(n)
    mirrors[happens(n, augmentation.flip_share, generator=generator)] = -1
    shifts = uniform(2 * n, -augmentation.shift, augmentation.shift, generator=generator).view(n, 2)
    # From a place in the view to one in the stored crop, both from -1 to 1 about the middle.
    cos, sin = torch.cos(angles) / scales, torch.sin(angles) / scales
    across, down = torch.stack([cos * mirrors, sin * mirrors], dim=1), torch.stack([-sin, cos], dim=1)  # (n, 2) each
    to_stored = upload(torch.stack([across, down, 2 * shifts], dim=2) * (covers / side), stored.device)  # (n, 2, 3)
    places = (2 * torch.arange(size, device=stored.device) + 1) / size - 1
    grid = (to_stored[:, :, 0, None] * places).mT[:, None] + (to_stored[:, :, 1, None] * places + to_stored[:, :, 2:]).mT[
        :, :, None
    ]
    if covers > size:  # else a view would skip pixels
        smaller = round(side * size / covers)
        exact = stored.float() if stored.is_cuda else stored  # of uint8 only the CPU knows how, and six times faster
        stored = functional.interpolate(exact, size=(smaller, smaller), mode="bilinear", antialias=True)
    exact = stored.to(torch.float32, memory_format=torch.contiguous_format)
    return functional.grid_sample(exact, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recolour(views: Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast and white balance; now and then take the colour away."""
    n = len(views)
    balance = uniform(3 * n, 1 - augmentation.white_balance, 1 + augmentation.white_balance, generator=generator).view(n, 3)
    contrast = uniform(n, *augmentation.contrast, generator=generator)[:, None] * balance  # (n, 3) of R, G, B
    brightness = uniform(n, *augmentation.brightness, generator=generator)[:, None]
    added = uniform(n, -augmentation.offset_levels, augmentation.offset_levels, generator=generator)[:, None]
    # (x · brightness - 128) · contrast + 128 + added
    factors, offsets = upload(torch.stack([contrast * brightness, 128 - 128 * contrast + added]), views.device)[..., None, None]
    views = torch.addcmul(offsets, views, factors)
    rows = happens(n, augmentation.grey_share, generator=generator)
    there = upload(rows, views.device)
    luma = upload(torch.tensor(_LUMA), views.device)[:, None, None]
    views[there] = (views[there] * luma).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    return views


def _erase(views: Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> None:
    """Cover a piece of some with one colour (Zhong et al., "Random Erasing Data Augmentation", AAAI 2020)."""
    size = views.shape[-1]
    rows = happens(len(views), augmentation.erase_share, generator=generator)
    lengths = (uniform(2 * len(rows), *augmentation.erase_sides, generator=generator) * size).round().clamp(max=size)
    starts = (torch.rand(2 * len(rows), generator=generator) * (size - lengths + 1)).floor()
    colours = upload(uniform(3 * len(rows), 0, 255, generator=generator), views.device).view(-1, 3, 1, 1)
    ranges = upload(torch.stack([starts, starts + lengths]), views.device).view(
        2, -1, 2, 1
    )  # (start and end, m, down and across, 1)
    places = torch.arange(size, device=views.device)
    down, across = ((places >= ranges[0]) & (places < ranges[1])).unbind(dim=1)  # (m, size) each
    there = upload(rows, views.device)
    views[there] = torch.where((down[:, :, None] & across[:, None, :])[:, None], colours, views[there])


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Faces that were blended with each other, and how to blend what is said of them."""

    pixels: Tensor
    """(n, size, size, 3) uint8."""
    partners: Tensor
    """(n,) the face that each was blended with."""
    shares: Tensor
    """(n,) its own share; the rest is its partner's."""

    def blend(self, own: Tensor, partners: Tensor) -> Tensor:
        """Return shares of the faces' own values and of their partners': soft targets (n, k), or losses (n,).

        A loss that is linear in its target comes out the same either way; the likelihood of a bracket must be blended as a loss.
        """
        shares = self.shares.view(-1, *[1] * (own.ndim - 1))
        return own * shares + partners * (1 - shares)

    def known(self, known: Tensor) -> Tensor:
        """Return where a face's own label and its partner's are both known, (n,), for (n,) where its own is."""
        return known & known[self.partners]


def mixup(pixels: Tensor, *, alpha: float, generator: torch.Generator) -> Mixed:
    """Blend each face with another of the batch (Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018).

    Args:
        pixels: (n, size, size, 3) uint8.
        alpha: of the Beta distribution that the shares are drawn from; 0.2 blends little, 1 evenly.
        generator: on the host; drawn from.
    """
    n = len(pixels)
    partners = upload(torch.randperm(n, generator=generator), pixels.device)
    random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))  # torch draws no Beta from a generator
    shares = upload(torch.from_numpy(random.beta(alpha, alpha, n)).float(), pixels.device)
    blended = Mixed(pixels=pixels, partners=partners, shares=shares).blend(pixels, pixels[partners])
    return Mixed(pixels=blended.round_().to(torch.uint8), partners=partners, shares=shares)
