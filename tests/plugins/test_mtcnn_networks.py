import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet
from torch import nn
from torch.nn import functional

from framehook import DeviceError, ModelError
from framehook_plugins import backends
from framehook_plugins.device import computes_in_bfloat16
from framehook_plugins.mtcnn import networks as mtcnn_networks
from framehook_plugins.mtcnn.area import AreaPatches, AreaPool
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_plugins.mtcnn.feeding import load_networks
from framehook_plugins.mtcnn.pytorch import SliceMaxPool

CLOSE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)


@pytest.fixture(scope="module", params=["torch", "openvino", "onnxruntime"])
def networks(request):
    return load_networks(request.param, "cpu")


def answers(reference, pixels):
    """Return what facenet-pytorch's own network makes of (n, h, w, 4), which it wants as (n, 3, h, w) of about -1 to 1."""
    with torch.inference_mode():
        outputs = reference().eval()((torch.from_numpy(pixels[..., :3]).permute(0, 3, 1, 2) - 127.5) / 128)
    return [output.numpy() for output in outputs]


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize("size", [(10, 10), (11, 10), (10, 11), (11, 13), (3, 3)], ids=str)
def test_slices_pool_as_windows_do(kernel, size):
    features = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    expected = nn.MaxPool2d(kernel, 2, ceil_mode=True)(features)
    assert torch.equal(SliceMaxPool(kernel)(features), expected)


@pytest.mark.parametrize("size", [(12, 12), (13, 30), (61, 83), (64, 40)], ids=str)
def test_proposals_are_those_of_the_reference(networks, picture, size):
    pixels = np.stack([AreaPool(some).whole(*size) for some in (picture, picture[::-1])])
    offsets, scores = networks.propose(pixels)
    expected_offsets, expected_probabilities = answers(PNet, pixels)
    np.testing.assert_allclose(offsets, expected_offsets.transpose(0, 2, 3, 1), **CLOSE)
    np.testing.assert_allclose(scores, expected_probabilities[:, 1], **CLOSE)


def test_a_tall_picture_is_proposed_on_in_strips_as_on_the_whole(networks):
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 301, 400, 4)).astype(np.float32)
    offsets, scores = networks.propose(pixels)
    expected_offsets, expected_probabilities = answers(PNet, pixels)
    np.testing.assert_allclose(offsets, expected_offsets.transpose(0, 2, 3, 1), **CLOSE)
    np.testing.assert_allclose(scores, expected_probabilities[:, 1], **CLOSE)


@pytest.mark.parametrize("n", [1, 16, 100])
def test_crops_are_judged_as_by_the_reference(networks, picture, n):
    boxes = np.array([[0, 0, 83, 61], [10, 5, 34, 29], [3, 40, 9, 44], [82, 60, 83, 61]])[np.arange(n) % 4]
    crops = AreaPool(picture).crops(boxes, 24)
    expected_offsets, expected_probabilities = answers(RNet, crops)
    offsets, scores = networks.reject(crops, known=False)
    np.testing.assert_allclose(offsets, expected_offsets, **CLOSE)
    np.testing.assert_allclose(scores, expected_probabilities[:, 1], **CLOSE)
    crops = AreaPool(picture).crops(boxes, 48)
    expected_offsets, expected_landmarks, expected_probabilities = answers(ONet, crops)
    offsets, landmarks, scores = networks.refine(crops, known=False)
    np.testing.assert_allclose(offsets, expected_offsets, **CLOSE)
    np.testing.assert_allclose(landmarks, expected_landmarks, **CLOSE)
    np.testing.assert_allclose(scores, expected_probabilities[:, 1], **CLOSE)


def test_known_faces_are_judged_almost_alike(networks, picture):
    boxes = np.array([[0, 0, 83, 61], [10, 5, 34, 29], [3, 40, 9, 44]])
    for judge, side in ((networks.reject, 24), (networks.refine, 48)):
        crops = AreaPool(picture).crops(boxes, side)
        for rough, exact in zip(judge(crops, known=True), judge(crops, known=False), strict=True):
            np.testing.assert_allclose(rough, exact, atol=0.02)


@pytest.mark.skipif(not computes_in_bfloat16(torch.device("cpu")), reason="this processor does not compute in bfloat16")
def test_known_faces_take_the_quicker_networks_where_there_are_some():
    crops = np.random.default_rng(0).uniform(0, 255, (3, 48, 48, 4)).astype(np.float32)
    networks = load_networks("openvino", "cpu")
    assert not np.array_equal(networks.refine(crops, known=True)[0], networks.refine(crops, known=False)[0])


@pytest.mark.parametrize("size", [(61, 83), (30, 41), (7, 100), (1, 1), (100, 90)], ids=str)
def test_averages_are_those_of_adaptive_pooling(picture, size):
    exact = torch.from_numpy(picture).permute(2, 0, 1)[None].double()
    expected = functional.adaptive_avg_pool2d(exact, size)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(AreaPool(picture).whole(*size)[..., :3], expected, rtol=2e-7)
    crop = AreaPool(np.pad(picture, ((3, 2), (5, 1), (0, 0)))).crops(np.array([[5, 3, 88, 64]]), 24)[0, ..., :3]
    expected = functional.adaptive_avg_pool2d(exact, (24, 24))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(crop, expected, rtol=2e-7)


@pytest.mark.parametrize(
    "boxes",
    [
        [[7, 11, 187, 181]],
        [[0, 0, 90, 100], [250, 130, 320, 240], [319, 239, 320, 240]],
        [[50, 50, 120, 120], [55, 45, 130, 125]],
    ],
    ids=["one", "apart", "over each other"],
)
def test_a_few_boxes_give_what_they_give_where_the_whole_picture_is_looked_at(boxes):
    picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    expected = AreaPool(picture).crops(np.array(boxes), 24)
    np.testing.assert_array_equal(AreaPatches(picture).crops(np.array(boxes), 24)[..., :3], expected[..., :3])


def test_a_backend_that_is_not_installed_is_told_before_any_frame(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda package: None)
    MtcnnDetector(backend="torch")
    with pytest.raises(DeviceError, match=r"backend 'openvino' is not installed: pip install 'framehook\[openvino\]'"):
        MtcnnDetector(backend="openvino")


def test_a_backend_for_the_cpu_does_not_take_cuda():
    with pytest.raises(DeviceError, match="backend 'onnxruntime' runs on the CPU, got device 'cuda'"):
        MtcnnDetector(backend="onnxruntime", device="cuda")


@pytest.mark.parametrize(
    ("missing", "chosen"),
    [((), "OpenVinoRuntime"), (("openvino",), "OnnxRuntime"), (("onnx",), "TorchNetwork")],
    ids=["all are there", "no openvino", "no onnx, which both need"],
)
def test_what_is_chosen_depends_on_what_is_installed(monkeypatch, missing, chosen):
    monkeypatch.setattr(backends, "find_spec", lambda package: None if package in missing else package)
    assert type(load_networks("auto", "cpu")._proposal).__name__ == chosen


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_networks_are_loaded_without_what_takes_seconds_to_import(backend):
    program = (
        "import sys\n"
        "from framehook_plugins.mtcnn.feeding import load_networks\n"
        f"load_networks('{backend}', 'cpu')\n"
        "print(*{'facenet_pytorch', 'torchvision', 'torch._dynamo', 'scipy'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "\n"


def test_weights_whose_package_is_missing_are_told(monkeypatch):
    monkeypatch.setattr(mtcnn_networks, "find_spec", lambda name: None)

    with pytest.raises(ModelError, match="MTCNN's weights come with facenet-pytorch, which is not installed: pip install"):
        mtcnn_networks.proposal_network()


@pytest.mark.parametrize(("content", "why"), [(None, "FileNotFoundError"), (b"no weights", ".+")], ids=["missing", "damaged"])
def test_weights_that_cannot_be_read_are_told(monkeypatch, tmp_path, content, why):
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "pnet.pt").write_bytes(content)
    monkeypatch.setattr(mtcnn_networks, "find_spec", lambda name: SimpleNamespace(origin=str(tmp_path / "__init__.py")))

    with pytest.raises(ModelError, match=rf"pnet\.pt' cannot be read \({why}\): install facenet-pytorch anew"):
        mtcnn_networks.proposal_network()


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_an_interrupt_is_still_one_after_networks_have_gone(backend):
    program = (
        "import signal\n"
        "from framehook_plugins.mtcnn.feeding import load_networks\n"
        f"for _ in range(2): load_networks('{backend}', 'cpu')\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "interrupted\n"
