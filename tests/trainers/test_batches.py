import threading
from itertools import pairwise

import numpy as np
import pytest
import torch

from framehook import UsageError
from framehook_trainers.batches import Batches, epoch_order, prefetched, show_weights
from framehook_trainers.datasets.faces import CropGeometry, Faces
from framehook_trainers.distributed import World

ALONE = World(device=torch.device("cpu"))


def faces(ages, datasets=None):
    """Faces whose pixels all have their row's number."""
    n = len(ages)
    crops = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2).repeat(3, 3)
    return Faces(
        shards=(crops,),
        geometry=CropGeometry(size=6, stored_size=8),
        datasets=np.array(datasets or ["set"] * n),
        names=np.array([f"{i}.jpg" for i in range(n)]),
        races=np.array([""] * n),
        ages=np.array([age if isinstance(age, tuple) else (age, age) for age in ages], np.int64),
        female=np.array([i % 3 - 1 for i in range(n)], np.int8),
    )


def rows(batch):
    return batch.pixels[:, 0, 0, 0].tolist()


def test_an_epoch_shows_each_face_once():
    batches = Batches(faces(range(20)), size=5, seed=0, world=ALONE)

    shown = [row for step in range(4) for row in rows(batches(step))]

    assert batches.steps_per_epoch == 4
    assert sorted(shown) == list(range(20))


def test_a_batch_holds_the_labels_of_its_faces():
    prepared = faces([3, (20, 29), -1, 50])
    batch = Batches(prepared, size=4, seed=0, world=ALONE)(0)

    assert (len(batch), batch.pixels.shape, batch.pixels.dtype) == (4, (4, 8, 8, 3), torch.uint8)
    assert batch.ages.tolist() == prepared.ages[rows(batch)].tolist()
    assert batch.female.tolist() == prepared.female[rows(batch)].tolist()


def test_a_step_has_the_same_batch_whatever_was_asked_before():
    one, other = (Batches(faces(range(20)), size=5, seed=3, world=ALONE) for _ in range(2))
    in_order = [rows(one(step)) for step in range(12)]

    assert [rows(other(step)) for step in (9, 2, 11)] == [in_order[9], in_order[2], in_order[11]]
    assert in_order[:4] != in_order[4:8]
    assert in_order[:4] != [rows(Batches(faces(range(20)), size=5, seed=4, world=ALONE)(step)) for step in range(4)]


def test_processes_share_each_batch():
    whole = Batches(faces(range(24)), size=6, seed=0, world=ALONE)
    shares = [Batches(faces(range(24)), size=6, seed=0, world=World(device=ALONE.device, rank=i, size=3)) for i in range(3)]

    for step in range(8):
        assert [row for share in shares for row in rows(share(step))] == rows(whole(step))


def test_views_are_made_of_the_stored_crops():
    seen = []

    def views(pixels, epoch, generator):
        seen.append((epoch, torch.rand((), generator=generator).item()))
        return pixels[:, :2, :2] + 100

    batches = Batches(faces(range(8)), size=4, seed=0, world=ALONE, views=views)

    assert batches(0).pixels.shape == (4, 2, 2, 3)
    assert min(rows(batches(2))) >= 100
    batches(0)
    assert [epoch for epoch, _ in seen] == [0, 1, 0]
    assert seen[0] == seen[2] != seen[1]


def test_sets_are_shown_as_often_as_told():
    prepared = faces(range(40), datasets=["often"] * 10 + ["once"] * 10 + ["seldom"] * 20)
    weights = show_weights(prepared, datasets=None, repeats={"often": 2, "seldom": 0.5}, balance=0)

    for epoch in range(3):
        counts = np.bincount(epoch_order(weights, seed=0, epoch=epoch), minlength=40)
        assert counts[:10].tolist() == [2] * 10
        assert counts[10:20].tolist() == [1] * 10
        assert counts[20:].max() == 1
        assert counts[20:].sum() == 10


@pytest.mark.parametrize("balance", [0, 1], ids=["as they occur", "balanced"])
def test_only_the_sets_that_were_asked_for_are_shown(balance):
    prepared = faces(range(40), datasets=["one"] * 10 + ["other"] * 20 + ["third"] * 10)

    batches = Batches(prepared, size=10, seed=0, world=ALONE, datasets=("one", "third"), balance=balance)

    shown = {row for step in range(20) for row in rows(batches(step))}
    assert batches.steps_per_epoch == 2
    assert shown == {*range(10), *range(30, 40)}


@pytest.mark.parametrize(("balance", "shares"), [(0, (0.9, 0.1)), (0.5, (0.75, 0.25)), (1, (0.5, 0.5))])
def test_rare_ages_are_shown_more_often_as_told(balance, shares):
    weights = show_weights(faces([25] * 90 + [75] * 10), datasets=None, repeats={}, balance=balance)
    shown = np.concatenate([epoch_order(weights, seed=0, epoch=epoch) for epoch in range(20)])

    assert len(shown) == 2000
    assert ((shown < 90).mean(), (shown >= 90).mean()) == pytest.approx(shares, abs=0.01)


def test_brackets_belong_to_the_class_of_their_middle_and_unknown_ages_keep_their_weight():
    weights = show_weights(faces([(20, 29), 22, (0, 2), -1]), datasets=None, repeats={}, balance=1)

    assert weights.tolist() == pytest.approx([0.75, 0.75, 1.5, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 21}, "20 training faces, shown 20 times, do not fill a batch of 21"),
        ({"size": 5, "repeats": {"other": 2}}, "no training face is of 'other'; there are: set"),
        ({"size": 5, "datasets": ("other",)}, "no training face is of 'other'; there are: set"),
        ({"size": 5, "world": World(device=ALONE.device, rank=0, size=2)}, "a batch of 5 cannot be shared evenly by 2 processes"),
    ],
    ids=["too few", "absent set is repeated", "absent set is drawn from", "uneven"],
)
def test_what_cannot_be_batched_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Batches(faces(range(20)), **{"seed": 0, "world": ALONE, **options})


def test_the_next_batch_is_made_while_the_last_is_used():
    begun = [threading.Event() for _ in range(4)]

    def batch_of(step):
        begun[step].set()
        return step

    coming = prefetched(batch_of, range(4))
    for step, (_, following) in enumerate(pairwise(begun)):
        assert next(coming) == step
        assert following.wait(timeout=60)
    assert list(coming) == [3]


def test_an_error_in_a_batch_arrives_where_it_is_used():
    def batch_of(step):
        raise UsageError(f"step {step}")

    with pytest.raises(UsageError, match="step 5"):
        next(prefetched(batch_of, range(5, 9)))


def test_no_steps_make_no_batch():
    assert list(prefetched(lambda step: step, range(3, 3))) == []


@pytest.mark.cuda
@pytest.mark.parametrize("fits", [True, False], ids=["resident", "read as needed"])
def test_batches_on_cuda_are_those_of_the_cpu(cuda, fits, monkeypatch):
    if not fits:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    here, there = (Batches(faces(range(20)), size=5, seed=0, world=World(device=device)) for device in (ALONE.device, cuda))

    for step in range(6):
        for name in ("pixels", "ages", "female"):
            one, other = getattr(here(step), name), getattr(there(step), name)
            assert other.device.type == "cuda"
            assert other.cpu().equal(one)
