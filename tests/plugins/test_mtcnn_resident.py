"""The cascade that stays on one device, against the one that the host directs."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from framehook import ArraySource, VideoSource, geometry
from framehook_plugins.mtcnn import fixed_places, resident
from framehook_plugins.mtcnn.cascade import Cascade
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.mtcnn.faces import Faces
from framehook_plugins.mtcnn.feeding import load_networks
from framehook_plugins.mtcnn.fixed_places import overlapping, suppress
from framehook_plugins.mtcnn.resident import ResidentCascade
from framehook_plugins.mtcnn.yuv import rgb_of

CPU = torch.device("cpu")
HOW = {"min_face": 40, "thresholds": (0.6, 0.7, 0.7), "factor": 0.709}
CLIPS = {  # frames that are quick to reach
    "classroom.gif": (0, 20),
    "face-demographics-walking-and-pause.gif": (0, 20),
    "facenet-multiface-1080p.mp4": (0, 15),
    "head-pose-face-detection-female-and-male.gif": (0, 21),
    "nasa_13013.mp4": (0, 42),
    "sign-again-480p.mkv": (24,),
    "wave.mp4": (0,),
}


def images_of(path, indices):
    with VideoSource(path, name=path.stem) as source:
        return [frame.image for frame in islice(source, max(indices) + 1) if frame.index in indices]


@pytest.fixture(scope="module")
def host():
    return Cascade(load_networks("torch", "cpu"), **HOW)


@pytest.fixture(scope="module")
def classroom(shared_videos):
    return images_of(shared_videos / "classroom.gif", (0, 5, 10))


def assert_same(found, wanted):
    assert found is not None
    assert len(found.scores) == len(wanted.scores)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.01)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)
    np.testing.assert_allclose(found.landmarks, wanted.landmarks, atol=0.01)


@pytest.mark.parametrize("min_face", [20, 40])
@pytest.mark.parametrize("clip", [name for name in CLIPS if "1080p" not in name])
def test_it_finds_what_the_host_finds(shared_videos, clip, min_face):
    how = HOW | {"min_face": min_face}
    images = images_of(shared_videos / clip, CLIPS[clip])

    found = ResidentCascade(CPU, **how).find(images)

    wanted = Cascade(load_networks("torch", "cpu"), **how).find(images)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def test_it_finds_what_the_host_finds_at_1080p(shared_videos, host):
    clip = "facenet-multiface-1080p.mp4"
    images = images_of(shared_videos / clip, CLIPS[clip])

    wanted = host.find(images)

    assert [len(faces.scores) for faces in wanted] == [6, 7]
    for one, other in zip(ResidentCascade(CPU, **HOW).find(images), wanted, strict=True):
        assert_same(one, other)


def test_pictures_of_mixed_sizes_give_what_each_gives_alone(host, classroom):
    sizes = [(0, 0), (1, 1), (0, 7), (39, 200), (41, 41), (13, 4000)]
    noise = np.random.default_rng(0)
    pictures = [noise.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    mixed = [classroom[0], *pictures, classroom[1][:200], classroom[2]]

    found = ResidentCascade(CPU, **HOW).find(mixed)

    for one, picture in zip(found, mixed, strict=True):
        assert_same(one, host.find([picture])[0])


def test_no_pictures_give_nothing():
    assert ResidentCascade(CPU, **HOW).find([]) == []


@pytest.mark.parametrize(
    "limit", [(resident, "_CANDIDATES", (4, 4)), (fixed_places, "_ROUNDS", 1)], ids=["too many candidates", "too long a chain"]
)
def test_a_picture_that_asks_too_much_is_given_back_and_the_host_finds_its_faces(monkeypatch, host, classroom, limit):
    monkeypatch.setattr(*limit)
    detector = MtcnnDetector(min_face=40, device="cpu", backend="torch")
    detector._resident = ResidentCascade(CPU, **HOW)  # as on a machine with a device

    assert detector._resident.find(classroom) == [None, None, None]

    for found, wanted in zip(detector.detect(list(ArraySource(classroom))), host.find(classroom), strict=True):
        np.testing.assert_array_equal(found.boxes, wanted.boxes)


def test_the_detector_hands_it_the_planes_of_frames_that_have_some(shared_videos, host):
    detector = MtcnnDetector(min_face=40, device="cpu", backend="torch")
    detector._resident = ResidentCascade(CPU, **HOW)  # as on a machine with a device
    with VideoSource(shared_videos / "sign-again-480p.mkv", name="clip") as source:
        frame = next(islice(source, 24, None))

    (found,) = detector.detect([frame])

    assert "image" not in vars(frame)  # it was never converted on the host
    (wanted,) = host.find([frame.image])
    assert_same(Faces(found.boxes, found.scores, found.attributes["landmarks"]), wanted)


@pytest.mark.parametrize("clip", ["facenet-multiface-1080p.mp4", "nasa_13013.mp4", "sign-again-480p.mkv", "wave.mp4"])
def test_planes_become_the_pixels_that_the_host_makes_of_them(shared_videos, clip):
    with VideoSource(shared_videos / clip, name="clip") as source:
        frame = next(iter(source))
    planes = frame.planes

    y, u, v = (torch.from_numpy(plane.copy())[None] for plane in (planes.y, planes.u, planes.v))
    got = rgb_of(y, u, v, matrix=planes.matrix, full_range=planes.full_range)[0].numpy()

    apart = np.abs(got - frame.image.astype(int))
    assert apart.max() <= 2  # libswscale rounds otherwise on some processors
    assert apart.mean() < 0.8


@pytest.mark.parametrize("full_range", [False, True], ids=["16 to 235", "0 to 255"])
@pytest.mark.parametrize(("matrix", "red", "blue"), [("bt601", 0.299, 0.114), ("bt709", 0.2126, 0.0722)])
def test_planes_become_the_colours_that_the_standards_say(matrix, red, blue, full_range):
    rgb = np.array([[200, 60, 30], [20, 140, 90], [110, 110, 110], [0, 0, 0], [255, 255, 255]]) / 255
    luma = rgb @ [red, 1 - red - blue, blue]
    chroma = (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)
    low, span, around = (0, 255, 255) if full_range else (16, 219, 224)
    levels = [low + span * luma, *(128 + around * value for value in chroma)]

    y, u, v = (torch.from_numpy(np.rint(level).astype(np.uint8)).reshape(1, 1, -1) for level in levels)
    got = rgb_of(y.repeat(1, 2, 1).repeat_interleave(2, dim=2), u, v, matrix=matrix, full_range=full_range)

    assert got.shape == (1, 2, 10, 3)
    np.testing.assert_allclose(got[0, 1, 1::2].numpy(), 255 * rgb, atol=3)


@pytest.mark.parametrize("limit", ["_PIXELS_AT_ONCE", "_LEVEL_PIXELS_AT_ONCE", "_PAIRS_AT_ONCE"])
def test_a_batch_is_split_where_memory_is_short(monkeypatch, host, classroom, limit):
    monkeypatch.setattr(resident, limit, 1)

    for one, other in zip(ResidentCascade(CPU, **HOW).find(classroom), host.find(classroom), strict=True):
        assert_same(one, other)


def test_sums_of_large_pictures_do_not_overflow():
    white = np.full((4400, 2000, 3), 255, np.uint8)  # 255 times its pixels are more than 31 bits hold
    white[2000:2200, 900:1100] = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    how = HOW | {"min_face": 500}

    (found,) = ResidentCascade(CPU, **how).find([white])

    assert_same(found, Cascade(load_networks("torch", "cpu"), **how).find([white])[0])


@pytest.mark.parametrize("over", ["union", "smaller"])
def test_suppression_keeps_what_the_greedy_one_keeps(over):
    draw = np.random.default_rng(0)
    corners = draw.uniform(0, 60, (4, 200, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + draw.uniform(5, 40, (4, 200, 2)).astype(np.float32)], axis=2)
    alive = draw.uniform(size=(4, 200)) < 0.8

    overlap = overlapping(torch.from_numpy(boxes), threshold=0.3, over=over)
    stays, settled = suppress(overlap, torch.from_numpy(alive))

    assert settled.all()
    for kept, some, there in zip(stays.numpy(), boxes, alive, strict=True):
        falling = np.linspace(1, 0, there.sum())
        wanted = np.flatnonzero(there)[geometry.nms(some[there], falling, threshold=0.3, overlap=over)]
        assert np.flatnonzero(kept).tolist() == wanted.tolist()


@pytest.mark.parametrize(("backend", "resident"), [("auto", True), ("torch", True), ("openvino", False)])
def test_only_what_runs_on_torch_goes_to_a_device(monkeypatch, backend, resident):
    detector = MtcnnDetector(backend=backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ResidentCascade, "__init__", lambda self, device, **options: None)

    assert (detector._resident is not None) == resident


def test_no_booleans_are_sorted_which_cuda_cannot_before_torch_2_6(classroom):
    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            assert "sort" not in function.__name__ or args[0].dtype != torch.bool
            return function(*args, **(kwargs or {}))

    with Watched():
        ResidentCascade(CPU, **HOW).find(classroom[:1])


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_on_cuda_it_finds_what_the_host_finds_and_never_waits_inside(shared_videos, cuda, host):
    clip = "facenet-multiface-1080p.mp4"
    images = images_of(shared_videos / clip, CLIPS[clip])
    cascade = ResidentCascade(cuda, **HOW)
    cascade.find(images)  # plans and kernels are made
    plan = cascade._plan(*images[0].shape[:2])
    pixels = torch.from_numpy(np.stack(images)).to(cuda)

    try:
        torch.cuda.set_sync_debug_mode("error")
        with torch.inference_mode():
            cascade._faces(pixels, plan)
    finally:
        torch.cuda.set_sync_debug_mode("default")

    for one, other in zip(cascade.find(images), host.find(images), strict=True):
        assert_same(one, other)
