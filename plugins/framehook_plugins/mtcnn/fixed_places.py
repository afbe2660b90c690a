"""Choosing, packing and suppressing boxes on a device, in sizes that do not depend on what is there.

Boxes are (b, n, 4 or more) of b pictures, x1, y1, x2, y2 first; who of them is a box at all is (b, n), *alive*.
"""

from typing import Literal

import torch
from torch import Tensor

_ROUNDS = 16  # of suppression; chains of boxes of which each overlaps the next took 8 at most in the clips that were looked at


def best(scores: Tensor, places: int) -> Tensor:
    """Return where the best scores of each picture are, (b, places), best first; of equal ones the first comes first."""
    if places >= scores.shape[1]:
        return scores.sort(dim=1, descending=True, stable=True).indices
    some = scores.topk(places, dim=1, sorted=False).indices.sort(dim=1).values
    return some.gather(1, best(scores.gather(1, some), places))


def taken(values: Tensor, places: Tensor) -> Tensor:
    """Return (b, places, m) of (b, n, m)."""
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def packed(boxes: Tensor, alive: Tensor, places: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the boxes that are alive in their order, in as many places, who is alive, and which pictures have more."""
    # As bytes: CUDA sorts no booleans before torch 2.6.
    order = alive.byte().sort(dim=1, descending=True, stable=True).indices[:, :places]
    return taken(boxes, order), alive.gather(1, order), alive.sum(dim=1) > places


def overlapping(boxes: Tensor, *, threshold: float, over: Literal["union", "smaller"]) -> Tensor:
    """Return whether each two of a picture's boxes share more than this share, (b, n, n) for (b, n, 4)."""
    x1, y1, x2, y2 = boxes.unbind(dim=2)
    across = torch.minimum(x2[:, :, None], x2[:, None, :]) - torch.maximum(x1[:, :, None], x1[:, None, :])
    down = torch.minimum(y2[:, :, None], y2[:, None, :]) - torch.maximum(y1[:, :, None], y1[:, None, :])
    shared = across.clamp_(min=0) * down.clamp_(min=0)
    areas = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)  # (b, n)
    if over == "smaller":
        return shared > threshold * torch.minimum(areas[:, :, None], areas[:, None, :])
    apart = 1 - shared / (areas[:, :, None] + areas[:, None, :] - shared)
    return 1 - apart.float() > threshold  # rounded as OpenCV does, whose suppression `cascade` uses


def suppress(overlap: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression of boxes in the order of their scores: return who stays, (b, n), and which pictures are settled.

    A box goes when one that stays comes before it and overlaps it. Each round knows that of one more box in every chain.

    Args:
        overlap: (b, n, n), whether each two of them do.
        alive: (b, n), who is a box.
    """
    before = overlap.triu(diagonal=1)
    stays = known = alive
    for _ in range(_ROUNDS):
        stays, known = alive & ~(before & stays[:, :, None]).any(dim=1), stays
    return stays, (stays == known).all(dim=1)


def shift(boxes: Tensor, offsets: Tensor, *, extent: int) -> Tensor:
    """Move each corner by its offset, in units of the box's sides plus `extent`."""
    sides = boxes[..., 2:4] - boxes[..., 0:2] + extent
    return boxes[..., :4] + offsets * torch.cat([sides, sides], dim=-1)


def square(boxes: Tensor) -> Tensor:
    """Widen the shorter side about the centre."""
    low, high = boxes[..., 0:2], boxes[..., 2:4]
    centres, half = (low + high) / 2, (high - low).amax(dim=-1, keepdim=True).clamp(min=0) / 2
    return torch.cat([centres - half, centres + half], dim=-1)
