"""Spoil views as distance and video compression spoil faces: few pixels, noise, 8 x 8 blocks.

A view X is shrunk to Y = A X Aᵀ and enlarged again to B Y Bᵀ. The discrete cosine transform of 8 x 8 blocks is a matrix too, so A
and B hold it: Y are the coefficients that JPEG (ITU-T T.81, annex A.3) would quantise. White noise is white there as well, for
the transform is orthonormal. Views of one batch have different sides, and yet they are a handful of matrix products.
"""

import functools
import math

import torch
from torch import Tensor

from framehook_trainers.draws import generator_on, happens, log_uniform, uniform, upload

_BLOCK = 8
_GROUPS = 4  # views of similar sides go together: three quarters of them need far smaller matrices than the largest

# ITU-T T.81, tables K.1 and K.2: the usual steps of luminance and of chrominance at quality 50.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
# ITU-T T.871, section 7: Y, Cb and Cr of R, G and B, less their offsets.
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def spoil(
    views: Tensor,
    *,
    sides: tuple[float, float],
    noise_share: float,
    noise: tuple[float, float],
    block_share: float,
    quality: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Return the views as they look from far away.

    Args:
        views: (n, 3, side, side) of 0 to 255.
        sides: fewest and most pixels of the sides between shrinking and enlarging.
        noise_share: share of the views with Gaussian noise.
        noise: least and greatest standard deviation of the noise, in levels.
        block_share: share of the views that are compressed.
        quality: least and greatest, as JPEG's encoders count it, 1 to 100.
        generator: on the host; drawn from.
    """
    n, side = len(views), views.shape[-1]
    smaller = log_uniform(n, *sides, generator=generator).round().long()
    spoiled = torch.empty_like(views)
    for rows in smaller.argsort().tensor_split(min(_GROUPS, n)):
        there = upload(rows, views.device)
        shrink, enlarge = _resampling(side, views.device)
        grid = _blocks(int(smaller[rows[-1]]))  # beyond it every view of the group only repeats its edge
        index = upload(smaller[rows], views.device)
        coefficients = _both_sides(views[there] - 128, shrink[index, :grid])
        _add_noise(coefficients, share=noise_share, levels=noise, generator=generator)
        _quantise(coefficients, share=block_share, quality=quality, generator=generator)
        spoiled[there] = _both_sides(coefficients, enlarge[index, :, :grid]) + 128
    return spoiled


def _blocks(side: int) -> int:
    """Return the side, rounded up to whole blocks."""
    return math.ceil(side / _BLOCK) * _BLOCK


def _both_sides(views: Tensor, matrices: Tensor) -> Tensor:
    """Return M X Mᵀ of each channel, (n, 3, k, k), for (n, 3, side, side) and (n, k, side)."""
    for _ in range(2):
        # (X Mᵀ)ᵀ = M Xᵀ, and once more: M X Mᵀ. All channels of a view are one product.
        n, channels, across, down = views.shape
        views = (views.reshape(n, channels * across, down) @ matrices.mT).view(n, channels, across, -1).mT
    return views.contiguous()


def _add_noise(coefficients: Tensor, *, share: float, levels: tuple[float, float], generator: torch.Generator) -> None:
    rows = happens(len(coefficients), share, generator=generator)
    std = upload(uniform(len(rows), *levels, generator=generator), coefficients.device)
    drawn_there = generator_on(coefficients.device, generator)
    white = torch.randn((len(rows), *coefficients.shape[1:]), generator=drawn_there, device=coefficients.device)
    coefficients.index_add_(0, upload(rows, coefficients.device), white * std[:, None, None, None])


def _quantise(coefficients: Tensor, *, share: float, quality: tuple[float, float], generator: torch.Generator) -> None:
    device = coefficients.device
    rows = happens(len(coefficients), share, generator=generator)
    steps = upload(_quantisation_steps(uniform(len(rows), *quality, generator=generator)), device)[:, :, None, :, None]
    to_ycbcr, to_rgb = _colour_matrices(device)
    there = upload(rows, device)
    planes = (to_ycbcr @ coefficients[there].flatten(2)).view(len(rows), 3, *coefficients.shape[2:])
    grid = planes.shape[2] // _BLOCK
    blocks = planes.view(-1, 3, grid, _BLOCK, grid, _BLOCK)
    quantised = ((blocks / steps).round_() * steps).view_as(planes)
    coefficients[there] = (to_rgb @ quantised.flatten(2)).view_as(planes)


def _quantisation_steps(quality: Tensor) -> Tensor:
    """Return the steps of Y, Cb and Cr, (n, 3, 8, 8), for qualities (n,), scaled as the Independent JPEG Group's library does."""
    tables = torch.tensor([_LUMINANCE, _CHROMINANCE, _CHROMINANCE], dtype=torch.float32)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    return ((tables * percent[:, None, None, None] + 50) / 100).floor().clamp(1, 255)


@functools.lru_cache(maxsize=4)
def _colour_matrices(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the matrices from RGB to YCbCr and back."""
    to_ycbcr = torch.tensor(_YCBCR)
    return to_ycbcr.to(device), to_ycbcr.inverse().to(device)


@functools.lru_cache(maxsize=4)
def _resampling(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what shrinks a line of pixels to blocks' coefficients and what enlarges them again, for every smaller side.

    Their shapes are (side + 1, grid, side) and (side + 1, side, grid): the first index is the smaller side, and `grid` the side
    in whole blocks. Pixels of the grid beyond the smaller side repeat its last one, as JPEG's encoders pad.
    """
    grid = _blocks(side)
    transform = torch.kron(torch.eye(grid // _BLOCK), _cosine_transform())
    shrink, enlarge = torch.zeros(side + 1, grid, side), torch.zeros(side + 1, side, grid)
    for smaller in range(1, side + 1):
        padded = torch.arange(grid).clamp(max=smaller - 1)
        shrink[smaller] = transform @ _area_weights(side, smaller)[padded]
        enlarge[smaller, :, :smaller] = _linear_weights(smaller, side)
    return shrink.to(device), (enlarge @ transform.T).to(device)


def _cosine_transform() -> Tensor:
    """Return the orthonormal discrete cosine transform of 8 values, (8, 8)."""
    k, i = torch.arange(_BLOCK)[:, None], torch.arange(_BLOCK)
    waves = torch.cos(math.pi * (2 * i + 1) * k / (2 * _BLOCK)) * math.sqrt(2 / _BLOCK)
    waves[0] /= math.sqrt(2)
    return waves


def _area_weights(side: int, smaller: int) -> Tensor:
    """Return the weights by which `side` pixels are averaged to fewer, (smaller, side): by the part that is covered."""
    edges = torch.arange(smaller + 1) * side / smaller
    pixels = torch.arange(side)
    ends = torch.minimum(edges[1:, None], pixels + 1)
    starts = torch.maximum(edges[:-1, None], pixels)
    return (ends - starts).clamp(min=0) * smaller / side


def _linear_weights(smaller: int, side: int) -> Tensor:
    """Return the weights by which pixels are enlarged to `side`, (side, smaller): linear between the two nearest middles."""
    middles = ((torch.arange(side) + 0.5) * smaller / side - 0.5).clamp(0, smaller - 1)
    return (1 - (middles[:, None] - torch.arange(smaller)).abs()).clamp(min=0)
