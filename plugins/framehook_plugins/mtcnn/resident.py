"""The cascade of `cascade`, whole on one device: between the upload of a batch and the download of its faces nobody waits.

What is found would decide the sizes of arrays, and the device would have to tell the host before each next step. So every stage
has a fixed number of places for each picture, which its best candidates fill; suppression is a matrix of who overlaps whom. A
picture that has more candidates than places, or whose suppression is not settled after a fixed number of rounds, is given back,
for the host's cascade to look at. The steps and their order, also among equal scores, are those of `cascade`.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from framehook import Image, Planes
from framehook_plugins.device import exact_products
from framehook_plugins.mtcnn import networks
from framehook_plugins.mtcnn.area import whole_bins
from framehook_plugins.mtcnn.faces import Faces, Floats, no_faces
from framehook_plugins.mtcnn.fixed_places import best, overlapping, packed, shift, square, suppress, taken
from framehook_plugins.mtcnn.pyramid import pyramid
from framehook_plugins.mtcnn.yuv import rgb_of

_INT32_SUMS = 2**31 - 1
_CELLS_A_CANDIDATE = 128  # at 1080p less than one of 200 passes, in small pictures with many faces one of 130 and more
_CANDIDATES = (1024, 4096)  # places of a picture, at least and at most
# These bound the memory of a batch:
_PIXELS_AT_ONCE = 40_000_000  # of the pictures
_LEVEL_PIXELS_AT_ONCE = 3_000_000  # of P-Net's largest level
_PAIRS_AT_ONCE = 32_000_000  # of candidates


class ResidentCascade:
    """MTCNN on one device, over batches of pictures of any sizes.

    Args:
        device: where everything happens.
        min_face: the smallest face to look for, in pixels.
        thresholds: the scores that a candidate must reach in the three stages.
        factor: from one level of the picture pyramid to the next.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        min_face: int,
        thresholds: tuple[float, float, float],
        factor: float,
    ) -> None:
        made = (networks.proposal_network(), networks.rejection_network(), networks.refinement_network())
        self._propose, self._reject, self._refine = (network.to(device) for network in made)
        self._device = device
        self._thresholds = thresholds
        self._plan = lru_cache(maxsize=16)(partial(_Plan.of, min_face=min_face, factor=factor, device=device))

    @torch.inference_mode()
    def find(self, pictures: Sequence[Image | Planes]) -> list[Faces | None]:
        """Return the faces of each picture; None where it is to be looked at in another way.

        Args:
            pictures: (h, w, 3) uint8 RGB, or the decoder's planes, which are half the bytes to upload.
        """
        alike = defaultdict(list)
        for i, picture in enumerate(pictures):
            alike[_kind(picture)].append(i)
        found: list[Faces | None] = [no_faces() for _ in pictures]
        waiting = []
        for kind, members in alike.items():
            plan = self._plan(kind.height, kind.width)
            if not plan.levels:
                continue
            for start in range(0, len(members), plan.at_once):
                some = members[start : start + plan.at_once]
                with exact_products(self._device):
                    waiting.append((some, self._faces(self._upload([pictures[i] for i in some]), plan)))
        for some, faces in waiting:  # the first wait for the device
            for i, one in zip(some, faces.cpu().numpy(), strict=True):
                found[i] = _unpacked(one)
        return found

    def _upload(self, pictures: Sequence[Image | Planes]) -> Tensor:
        """Return pictures of one kind, (n, h, w, 3) of 0 to 255."""

        def together(arrays: Sequence[NDArray[np.uint8]]) -> Tensor:
            # Pinned, or the copy would not return before the device has worked through what it was told to do before.
            pinned = self._device.type == "cuda"
            host = torch.empty((len(arrays), *arrays[0].shape), dtype=torch.uint8, pin_memory=pinned)
            np.stack(arrays, out=host.numpy())
            return host.to(self._device, non_blocking=True)

        planes = [picture for picture in pictures if isinstance(picture, Planes)]
        if not planes:
            return together([picture for picture in pictures if not isinstance(picture, Planes)])
        y, u, v = (together(arrays) for arrays in zip(*((each.y, each.u, each.v) for each in planes), strict=True))
        return rgb_of(y, u, v, matrix=planes[0].matrix, full_range=planes[0].full_range)

    def _faces(self, pixels: Tensor, plan: "_Plan") -> Tensor:
        """Return (b, places, 17) of boxes, scores, landmarks, who is a face, and whether the picture's are complete."""
        sums = _integral(pixels)
        boxes, alive, complete = self._proposals(sums, plan)
        boxes, alive, settled = self._rejected(sums, boxes, alive)
        complete &= settled
        boxes, alive, more = packed(boxes, alive, -(-plan.candidates // 8))
        complete &= ~more
        faces, settled = self._refined(sums, boxes, alive)
        complete &= settled
        return torch.cat([faces, complete[:, None, None].expand(-1, faces.shape[1], 1)], dim=2)

    def _proposals(self, sums: Tensor, plan: "_Plan") -> tuple[Tensor, Tensor, Tensor]:
        """P-Net over the pyramid: return (b, k, 5), who is alive, (b, k), and which pictures had places for all, (b,)."""
        n = len(sums)
        answers = [self._propose(_averages(sums, level)) for level in plan.levels]
        cells = torch.cat([answer[0].reshape(n, -1, 5) for answer in answers], dim=1)  # (n, cells, 5)
        scores = 0.5 + 0.5 * torch.tanh(0.5 * cells[..., 4])
        passed = scores >= self._thresholds[0]
        places = best(scores.where(passed, -1), plan.candidates)  # (n, k)
        alive = passed.gather(1, places)
        scores, offsets = scores.gather(1, places), cells.gather(1, places[..., None].expand(-1, -1, 5))[..., :4]
        boxes, levels = plan.corners[places], plan.level_of[places]  # (n, k, 4), (n, k)
        shared = partial(overlapping, boxes.double(), over="union")
        same_level = levels[:, :, None] == levels[:, None, :]
        alive, settled = suppress(shared(threshold=0.5) & same_level, alive)
        complete = settled & (passed.sum(dim=1) <= plan.candidates)
        alive, settled = suppress(shared(threshold=0.7), alive)
        boxes = square(shift(boxes, offsets, extent=0))
        boxes, alive, more = packed(torch.cat([boxes, scores[..., None]], dim=2), alive, -(-plan.candidates // 2))
        return boxes, alive, complete & settled & ~more

    def _rejected(self, sums: Tensor, boxes: Tensor, alive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R-Net on a crop of each box: return those that are left, best first, who is alive, and whose are settled."""
        crops, inside = _crops(sums, boxes, 24)
        offsets, probabilities = self._reject(crops)
        scores = probabilities[:, 1].reshape(alive.shape)
        alive = alive & inside & (scores > self._thresholds[1])
        order = best(scores.where(alive, -1), scores.shape[1])
        boxes, offsets = (taken(values, order) for values in (boxes[..., :4], offsets.reshape(*alive.shape, 4)))
        scores, alive = scores.gather(1, order), alive.gather(1, order)
        alive, settled = suppress(overlapping(boxes.double(), threshold=0.7, over="union"), alive)
        return torch.cat([square(shift(boxes, offsets, extent=1)), scores[..., None]], dim=2), alive, settled

    def _refined(self, sums: Tensor, boxes: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
        """O-Net on a crop of each box: return (b, n, 16) of boxes, scores, landmarks and who is a face; and whose are settled."""
        crops, inside = _crops(sums, boxes, 48)
        offsets, points, probabilities = self._refine(crops)
        scores = probabilities[:, 1].reshape(alive.shape)
        alive = alive & inside & (scores > self._thresholds[2])
        relative = points.reshape(*alive.shape, 2, 5).transpose(2, 3)  # (b, n, 5, 2), of the box's sides
        sides = boxes[..., 2:4] - boxes[..., 0:2] + 1
        landmarks = sides[:, :, None] * relative + boxes[:, :, None, 0:2] - 1
        boxes = shift(boxes[..., :4], offsets.reshape(*alive.shape, 4), extent=1)
        faces = torch.cat([boxes, scores[..., None], landmarks.flatten(2)], dim=2).flip(1)  # of equal scores the last is first
        alive = alive.flip(1)
        order = best(faces[..., 4].where(alive, -1), faces.shape[1])
        faces, alive = taken(faces, order), alive.gather(1, order)
        # The weights were tuned with boxes that include their last pixel: hence one more on the far side.
        inclusive = torch.cat([faces[..., 0:2], faces[..., 2:4] + 1], dim=2)
        alive, settled = suppress(overlapping(inclusive, threshold=0.7, over="smaller"), alive)
        return torch.cat([faces, alive[..., None]], dim=2), settled


class _Kind(NamedTuple):
    """What pictures of one batch have in common."""

    height: int
    width: int
    planes: tuple[str, bool] | None
    """Matrix and full range; None for RGB."""


def _kind(picture: Image | Planes) -> _Kind:
    planes = (picture.matrix, picture.full_range) if isinstance(picture, Planes) else None
    height, width = (picture.y if isinstance(picture, Planes) else picture).shape[:2]
    return _Kind(height, width, planes)


class _Bins(NamedTuple):
    """One level of the pyramid: between which rows and columns of the picture each of its pixels lies."""

    top: Tensor  # (height,)
    bottom: Tensor
    left: Tensor  # (width,)
    right: Tensor


class _Plan(NamedTuple):
    """What pictures of one size have in common."""

    levels: tuple[_Bins, ...]
    corners: Tensor
    """(cells, 4): the box that each of P-Net's cells stands for, in the picture's pixels, level by level and row by row."""
    level_of: Tensor
    """(cells,)."""
    candidates: int
    """Places for P-Net's candidates, of each picture."""
    at_once: int
    """Pictures."""

    @classmethod
    def of(cls, height: int, width: int, *, min_face: int, factor: float, device: torch.device) -> "_Plan":
        levels, corners, level_of = [], [np.empty((0, 4), np.float32)], [np.empty(0, np.int64)]
        for level in pyramid(height, width, min_face=min_face, factor=factor):
            edges = (*whole_bins(height, level.height), *whole_bins(width, level.width))
            levels.append(_Bins(*(torch.from_numpy(edge).to(device) for edge in edges)))
            cells = np.indices(level.cells).reshape(2, -1).T  # (n, 2) row, column
            corners.append(level.boxes(cells))
            level_of.append(np.full(len(cells), len(levels)))
        n = sum(map(len, corners))
        least, most = _CANDIDATES
        candidates = min(max(1 << (n // _CELLS_A_CANDIDATE).bit_length(), least), most, max(n, 1))
        of_level = len(levels[0].top) * len(levels[0].left) if levels else 1
        limits = (
            _PIXELS_AT_ONCE // (height * width or 1),
            _LEVEL_PIXELS_AT_ONCE // of_level,
            _PAIRS_AT_ONCE // candidates**2,
        )
        return cls(
            levels=tuple(levels),
            corners=torch.from_numpy(np.concatenate(corners)).to(device),
            level_of=torch.from_numpy(np.concatenate(level_of)).to(device),
            candidates=candidates,
            at_once=max(min(limits), 1),
        )


def _integral(pixels: Tensor) -> Tensor:
    """Return (b, h + 1, w + 1, 3): at [y, x] the sum over rows < y and columns < x of (b, h, w, 3)."""
    n, height, width, channels = pixels.shape
    exact = torch.int32 if 255 * height * width <= _INT32_SUMS else torch.int64
    sums = torch.zeros((n, height + 1, width + 1, channels), dtype=exact, device=pixels.device)
    torch.cumsum(pixels.cumsum(dim=1, dtype=exact), dim=2, dtype=exact, out=sums[:, 1:, 1:])
    return sums


def _averages(sums: Tensor, level: _Bins) -> Tensor:
    """Return the pictures at a level's size, (b, height, width, 4), as `AreaPool.whole` makes them."""
    rows = sums.index_select(1, level.bottom) - sums.index_select(1, level.top)
    of_bins = rows.index_select(2, level.right) - rows.index_select(2, level.left)
    divisors = (level.bottom - level.top).float()[:, None] * (level.right - level.left).float()
    return functional.pad(of_bins.float() / divisors[..., None], (0, 1))


def _crops(sums: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cut the boxes, (b, n, 4 or more), as (b * n, side, side, 4), and say which have a pixel in their picture, (b, n)."""
    n, height, width = sums.shape[0], sums.shape[1] - 1, sums.shape[2] - 1
    # Boxes count pixels from 1 and include the last one, as in the code that the weights come from.
    x1, y1, x2, y2 = boxes[..., :4].to(torch.int64).unbind(dim=2)
    low = torch.stack([x1, y1], dim=2).clamp(min=1) - 1
    high = torch.stack([x2.clamp(max=width), y2.clamp(max=height)], dim=2)
    inside = (high > low).all(dim=2)
    low, high = low * inside[..., None], high.where(inside[..., None], 1)  # else the first pixel, so that there is one
    place = torch.arange(side, device=sums.device)
    span = (high - low)[..., None]  # (b, n, 2, 1)
    starts = low[..., None] + place * span // side  # (b, n, 2, side)
    ends = low[..., None] - (-(place + 1) * span // side)  # rounds up
    (left, top), (right, bottom) = starts.unbind(dim=2), ends.unbind(dim=2)  # (b, n, side) each
    flat, stride = sums.reshape(-1, sums.shape[3]), width + 1
    picture = torch.arange(n, device=sums.device)[:, None, None, None] * (height + 1) * stride
    upper, lower = (picture + edge[..., None] * stride for edge in (top, bottom))  # (b, n, side, 1)
    left_, right_ = left[:, :, None, :], right[:, :, None, :]
    of_bins = flat[lower + right_] - flat[lower + left_] - flat[upper + right_] + flat[upper + left_]
    divisors = (bottom - top).float()[..., None] * (right - left).float()[:, :, None, :]
    return functional.pad(of_bins.float() / divisors[..., None], (0, 1)).flatten(0, 1), inside


def _unpacked(faces: Floats) -> Faces | None:
    """Return the faces of one picture, of (places, 17)."""
    if not faces[:, 16].all():
        return None
    kept = faces[faces[:, 15] > 0]
    return Faces(boxes=kept[:, :4], scores=kept[:, 4], landmarks=kept[:, 5:15].reshape(-1, 5, 2))
