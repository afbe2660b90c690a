"""What networks run on: the classifier's networks on each backend. tests/plugins/test_mtcnn_networks.py has the detector's."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from framehook import ModelError, OptionError
from framehook_plugins import backends
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.classifier import AgeGenderClassifier
from framehook_plugins.agegender.inference import Estimator
from framehook_plugins.backends import NoGraphError, choose_backend, in_batches, load_runtime, openvino
from framehook_plugins.backends.onnx_graph import onnx_graph

TWICE = np.array([True, False, False, True, False])


@pytest.fixture
def estimate(small_header, small_network, tmp_path):
    """Return a function: what a small network says of five crops on a backend."""

    def ask(architecture, backend, precision="float32", device="cpu"):
        header = small_header(architecture)
        path = tmp_path / "small.safetensors"
        checkpoint.write(path, small_network(header), header)
        estimator = Estimator(path, device=device, backend=backend, precision=precision, batch=3)
        shape = (len(TWICE), header.input_size, header.input_size, 3)
        crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        return estimator.estimate(crops, again=crops[TWICE][:, :, ::-1], twice=TWICE)

    return ask


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_each_network_says_the_same_on_every_backend(estimate, architecture, backend):
    if architecture == "vgg16":
        with pytest.raises(ModelError, match=r"no graph can be made of a network with AdaptiveAvgPool2d.*: use backend 'torch'"):
            estimate(architecture, backend)
        return

    expected, found = estimate(architecture, "torch"), estimate(architecture, backend)

    assert np.ptp(expected.age) > 0.1
    np.testing.assert_allclose(found.age, expected.age, atol=0.02)
    np.testing.assert_allclose(found.age_std, expected.age_std, atol=0.02)
    np.testing.assert_allclose(found.female, expected.female, atol=1e-3)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_backend_of_the_cpu_has_the_cpu_also_beside_a_gpu(estimate, backend, monkeypatch):
    expected = estimate("resnet18", backend)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    found = estimate("resnet18", backend, device="auto")

    devices = [str(device) for name in ("auto", "torch", backend) for _, device in [choose_backend(name, "auto")]]
    assert devices == ["cuda", "cuda", "cpu"]
    np.testing.assert_array_equal(found.age, expected.age)


def test_a_network_without_a_graph_is_left_to_torch(estimate):
    np.testing.assert_array_equal(estimate("vgg16", "auto").age, estimate("vgg16", "torch").age)


def test_bfloat16_is_near_enough(estimate):
    exact, half = estimate("resnet18", "torch"), estimate("resnet18", "openvino", precision="bfloat16")

    assert not np.array_equal(exact.age, half.age)
    np.testing.assert_allclose(half.age, exact.age, atol=3)
    np.testing.assert_allclose(half.female, exact.female, atol=0.1)


def test_bfloat16_is_left_to_torch_where_only_onnx_runtime_is_there(estimate, monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda package: None if package == "openvino" else package)

    chosen, torchs = (estimate("resnet18", backend, precision="bfloat16") for backend in ("auto", "torch"))

    np.testing.assert_array_equal(chosen.age, torchs.age)


def test_onnx_runtime_is_not_asked_for_bfloat16(weights):
    with pytest.raises(OptionError, match="backend 'onnxruntime' has only float32, got precision 'bfloat16'"):
        AgeGenderClassifier(weights=str(weights), backend="onnxruntime", precision="bfloat16")


def test_a_shape_that_comes_often_gets_a_program_of_its_own_and_the_same_answers():
    network = load_runtime("openvino", Rows(), sides=("height", "width"), channels=4)
    often, seldom = (np.random.default_rng(0).random((n, 3, 5, 4)).astype(np.float32) for n in (4, 2))

    found = [network(often)[0] for _ in range(200)]
    network(seldom)

    assert list(network._for_one) == [often.shape]
    np.testing.assert_allclose(found, np.broadcast_to(2 * often.sum(axis=1), (200, 4, 5, 4)), rtol=1e-6)


def test_pictures_of_many_sizes_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(openvino, "_COUNTED", 20)
    monkeypatch.setattr(openvino, "_PROGRAMS", 2)
    network = load_runtime("openvino", Rows(), sides=("height", "width"), channels=4)

    for _ in range(100):
        for width in (1, 2, 3):
            network(np.zeros((1, 1, width, 4), np.float32))
    for width in range(1, 60):
        network(np.zeros((1, 2, width, 4), np.float32))

    assert len(network._for_one) == 2
    assert len(network._uses) <= 20


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux says which cores a thread may use")
def test_no_thread_is_tied_to_a_core():
    load_runtime("openvino", Rows(), sides=("height", "width"), channels=4)(np.zeros((1, 64, 64, 4), np.float32))
    cores = [os.sched_getaffinity(int(thread.name)) for thread in Path("/proc/self/task").iterdir()]
    assert all(some == os.sched_getaffinity(0) for some in cores)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_threads_that_share_a_network_each_get_their_own_answers(backend):
    network = load_runtime(backend, Rows(), sides=("height", "width"), channels=4)
    pictures = np.random.default_rng(0).random((100, 2, 100, 60, 4)).astype(np.float32)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda pixels: network(pixels)[0], pictures))

    np.testing.assert_allclose(found, 2 * pictures.sum(axis=2), rtol=1e-5)


def test_a_network_of_another_thread_runs_on_while_one_is_made_into_a_graph():
    elsewhere = nn.Linear(2, 2)

    class Meanwhile(nn.Module):
        def forward(self, pixels):
            with ThreadPoolExecutor(1) as thread:
                thread.submit(elsewhere, torch.ones(1, 2)).result()
            return [pixels.sum(dim=1, keepdim=False)]

    graph = onnx_graph(Meanwhile(), sides=(4, 4), channels=4)

    assert [node.op_type for node in onnx.load_from_string(graph).graph.node] == ["ReduceSum"]


class Rows(nn.Module):
    def forward(self, pixels):
        rows = pixels.sum(dim=1, keepdim=False)
        return [rows + rows]


class Cosine(nn.Module):
    def forward(self, pixels):
        return [pixels.cos()]


def test_what_has_no_graph_is_named():
    with pytest.raises(NoGraphError, match="no graph can be made of a network that calls cos: use backend 'torch'"):
        onnx_graph(Cosine(), sides=(4, 4), channels=4)


@pytest.mark.parametrize(
    ("n", "filled", "sizes"),
    [
        (1, 0.5, [1]),
        (3, 0.5, [4]),
        (3, 0.8, [2, 1]),
        (5, 0.5, [8]),
        (5, 0.8, [4, 1]),
        (7, 0.8, [8]),
        (8, 0.8, [8]),
        (21, 0.8, [8, 8, 4, 1]),
        (23, 0.8, [8, 8, 8]),
    ],
)
def test_batches_have_few_sizes_and_every_picture_its_answer(n, filled, sizes):
    seen = []

    def runtime(pixels):
        seen.append(len(pixels))
        return [pixels.sum(axis=(1, 2, 3)), 2 * pixels]

    pixels = np.random.default_rng(0).random((n, 2, 2, 4))

    sums, doubled = in_batches(runtime, pixels, most=8, filled=filled)

    assert seen == sizes
    np.testing.assert_array_equal(sums, pixels.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(doubled, 2 * pixels)
