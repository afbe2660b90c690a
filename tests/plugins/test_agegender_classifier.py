import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from framehook import NO_TRACK, ArraySource, Classifier, Detections, DeviceError, ModelError, OptionError, Pipeline
from framehook.testing import ClassifierConformance, FixedDetector, make_frame
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.classifier import AgeGenderClassifier, find_weights
from framehook_plugins.agegender.crop import cut, squares
from framehook_plugins.agegender.outputs import decode
from framehook_plugins.agegender.pixels import Normalisation

TWO_BOXES = ([10, 10, 60, 60], [50, 20, 110, 90])


def noise(seed, width=120, height=100):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)


def faces(*boxes, **attributes):
    return Detections(boxes=np.array(boxes, np.float32).reshape(-1, 4), attributes=attributes)


def classifier(weights, **options):
    return AgeGenderClassifier(weights=str(weights), device="cpu", precision="float32", **options)


def probability_of_female(found):
    score = found.attributes["gender_score"]
    return float(np.where(found.attributes["gender"] == "female", score, 1 - score)[0])


@pytest.fixture
def write(small_header, small_network, tmp_path):
    """Write the weights file of a small network; keywords replace fields of its header."""

    def make(architecture, **changes):
        header = small_header(architecture, **changes)
        checkpoint.write(tmp_path / f"{architecture}.safetensors", small_network(header), header)
        return tmp_path / f"{architecture}.safetensors"

    return make


class TestConformance(ClassifierConformance):
    @pytest.fixture(autouse=True)
    def _tiny(self, weights):
        self.weights = weights

    def make(self):
        return classifier(self.weights)


def test_every_face_gets_an_age_a_gender_and_a_quality(weights):
    found = faces([10, 10, 60, 60], [50, 20, 110, 90])

    (result,) = classifier(weights).classify([make_frame(noise(0))], [found])

    assert isinstance(classifier(weights), Classifier)
    assert {column.name for column in AgeGenderClassifier.columns} | {"quality"} == set(result.attributes)
    assert all(result.attributes[name].dtype == np.float32 for name in ("age", "age_std", "gender_score", "quality"))
    assert ((result.attributes["age"] > 0) & (result.attributes["age"] < 100)).all()
    assert (result.attributes["gender_score"] >= 0.5).all()
    assert set(result.attributes["gender"]) <= {"female", "male"}
    np.testing.assert_array_equal(result.boxes, found.boxes)


def test_every_networks_file_runs_as_it_is(write, architecture):
    path = write(architecture)
    image, found = noise(1), faces(*TWO_BOXES)
    network, header = checkpoint.read(path)
    where = squares(found.boxes, margin=header.crop_margin, shift=header.crop_shift)
    crops = torch.from_numpy(cut(image, where, header.input_size, border=header.crop_border))
    with torch.inference_mode():
        prediction = network(Normalisation(colour=header.colour, mean=header.mean, std=header.std)(crops))
    age, age_std, female = (each.numpy() for each in decode(prediction, header.outputs))

    (result,) = classifier(path, flip=False).classify([make_frame(image)], [found])

    np.testing.assert_allclose(result.attributes["age"], age, atol=5e-3)
    np.testing.assert_allclose(result.attributes["age_std"], age_std, atol=5e-3)
    np.testing.assert_allclose(result.attributes["gender_score"], np.maximum(female, 1 - female), atol=1e-3)
    assert result.attributes["gender"].tolist() == ["female" if each >= 0.5 else "male" for each in female]
    assert abs(age[0] - age[1]) > 0.01  # the network does tell the two apart


def test_a_pipeline_takes_the_file_by_its_path(write):
    path = write("twobranch")
    pipeline = Pipeline(detector=FixedDetector(TWO_BOXES), classifiers=[f"age-gender:weights={path},device=cpu"], sinks=[])

    (result,) = pipeline.run(ArraySource([noise(1)], rate=25))

    assert (result.detections.attributes["age_std"] >= 7.5).all()  # no less than the file says of its one value


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size": 48},
        {"mean": (0.1, 0.1, 0.1)},
        {"std": (0.5, 0.5, 0.5)},
        {"crop_margin": 0.2},
        {"crop_shift": 0.3},
        {"crop_border": "white"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_field_of_the_header_counts(write, changes):
    frame, found = make_frame(noise(1)), faces([80, 40, 140, 100])  # partly beyond the picture

    (before,) = classifier(write("resnet18")).classify([frame], [found])
    (after,) = classifier(write("resnet18", **changes)).classify([frame], [found])

    assert abs(before.attributes["age"] - after.attributes["age"]) > 0.01


def test_a_grey_network_does_not_see_colours(write):
    path, colours = write("twobranch"), noise(1)
    grey = cv2.cvtColor(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)

    results = classifier(path).classify([make_frame(colours), make_frame(grey)], [faces(*TWO_BOXES)] * 2)

    ages = [result.attributes["age"] for result in results]
    np.testing.assert_allclose(*ages, atol=0.05)


def test_with_flip_a_face_is_seen_a_little_lower_and_its_mirror_image_a_little_higher(weights):
    image, box, mirrored_box = noise(2), np.array([20, 10, 70, 60]), np.array([50, 10, 100, 60])
    mirrored = np.ascontiguousarray(image[:, ::-1])
    down = 0.04 * 50 * (1 + checkpoint.read_header(weights).crop_margin) * np.array([0, 1, 0, 1])

    (both,) = classifier(weights, flip=True).classify([make_frame(image)], [faces(box)])
    lower, higher = classifier(weights, flip=False).classify(
        [make_frame(image), make_frame(mirrored)], [faces(box + down), faces(mirrored_box - down)]
    )

    ages = [float(view.attributes["age"][0]) for view in (lower, higher)]
    assert abs(ages[0] - ages[1]) > 0.01
    assert both.attributes["age"] == pytest.approx(np.mean(ages), abs=1e-3)
    assert probability_of_female(both) == pytest.approx(
        np.mean([probability_of_female(lower), probability_of_female(higher)]), abs=1e-3
    )


def test_faces_without_a_track_alone_are_seen_twice(weights):
    frame, boxes = make_frame(noise(2)), ([20, 10, 70, 60], [50, 10, 100, 60], [10, 20, 80, 90])
    found = faces(*boxes).with_tracks(np.array([7, NO_TRACK, NO_TRACK]))

    def ages(**options):
        (result,) = classifier(weights, batch=2, **options).classify([frame], [found])
        return result.attributes["age"]

    chosen, single, double = ages(), ages(flip=False), ages(flip=True)
    np.testing.assert_allclose(chosen, [single[0], double[1], double[2]], atol=1e-3)
    assert not np.isclose(single, double, atol=1e-3).any()


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_batches_over_frames_do_not_change_the_answers(weights, batch):
    images = [noise(seed) for seed in range(3)]
    found = [faces([10, 10, 60, 60], [50, 20, 110, 90]), faces(), faces([0, 0, 40, 40], [60, 50, 100, 90], [5, 5, 90, 95])]

    together = classifier(weights, batch=batch).classify([make_frame(image) for image in images], found)

    one_by_one = classifier(weights)
    for image, some, result in zip(images, found, together, strict=True):
        (alone,) = one_by_one.classify([make_frame(image)], [some])
        assert len(result) == len(some)
        np.testing.assert_allclose(result.attributes["age"], alone.attributes["age"], atol=1e-3)
        np.testing.assert_array_equal(result.attributes["gender"], alone.attributes["gender"])


def test_a_tilted_face_is_turned_upright_by_its_landmarks(weights):
    picture = cv2.resize(noise(3), (120, 120))
    tilted = cv2.warpAffine(picture, cv2.getRotationMatrix2D((59.5, 59.5), 40, 1), (120, 120))
    landmarks = np.array([[50, 50], [70, 50], [60, 60], [53, 72], [67, 72]], np.float32)
    angle = np.radians(-40)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    box = [40, 40, 80, 80]

    results = classifier(weights, flip=False).classify(
        [make_frame(picture), make_frame(tilted), make_frame(tilted)],
        [
            faces(box, landmarks=landmarks[None]),
            faces(box, landmarks=((landmarks - 60) @ turn + 60)[None]),
            faces(box),
        ],
    )

    upright, straightened, as_it_is = (float(result.attributes["age"][0]) for result in results)
    assert abs(upright - straightened) < abs(upright - as_it_is) / 3


def test_a_frame_without_faces_gets_empty_columns_of_the_right_types(weights):
    (result,) = classifier(weights).classify([make_frame(noise(0))], [Detections.empty()])

    assert result.attributes["age"].shape == (0,)
    assert result.attributes["gender"].dtype == "<U6"
    joined = Detections.concatenate([result, *classifier(weights).classify([make_frame(noise(0))], [faces([0, 0, 50, 50])])])
    assert joined.attributes["gender"].dtype == "<U6"


def test_no_frames_give_no_results(weights):
    assert list(classifier(weights).classify([], [])) == []


def test_poor_views_weigh_less(weights):
    frontal = np.array([[[30, 30], [50, 30], [40, 40], [32, 50], [48, 50]]], np.float32)
    profile = np.array([[[30, 30], [50, 30], [50, 40], [32, 50], [48, 50]]], np.float32)
    views = {
        "good": faces([10, 10, 60, 60], landmarks=frontal),
        "in profile": faces([10, 10, 60, 60], landmarks=profile),
        "tiny": faces([30, 30, 38, 38], landmarks=(frontal - 40) / 6 + 34),
        "half outside": faces([90, 10, 140, 60], landmarks=frontal + np.float32([80, 0])),
        "doubtful": Detections(boxes=[[10, 10, 60, 60]], scores=[0.3], attributes={"landmarks": frontal}),
    }

    results = classifier(weights).classify([make_frame(noise(0))] * len(views), list(views.values()))

    quality = {name: float(result.attributes["quality"][0]) for name, result in zip(views, results, strict=True)}
    assert quality["good"] == pytest.approx(1)
    assert all(0 < value < 0.7 for name, value in quality.items() if name != "good"), quality


def test_bfloat16_agrees_with_float32(write, architecture):
    path, found = write(architecture), faces(*TWO_BOXES)
    half = AgeGenderClassifier(weights=str(path), device="cpu", precision="bfloat16")

    (exact,) = classifier(path).classify([make_frame(noise(0))], [found])
    (rounded,) = half.classify([make_frame(noise(0))], [found])

    np.testing.assert_allclose(rounded.attributes["age"], exact.attributes["age"], atol=1)


def test_weights_that_are_not_there_are_told_with_those_that_are():
    with pytest.raises(OptionError, match="weights 'nowhere' are neither a file nor bundled; bundled: default"):
        AgeGenderClassifier(weights="nowhere")


def test_weights_may_lie_in_the_home_folder(weights, monkeypatch):
    monkeypatch.setenv("HOME", str(weights.parent))
    monkeypatch.setenv("USERPROFILE", str(weights.parent))
    assert find_weights(f"~/{weights.name}") == weights


def test_options_that_cannot_be_meant_are_refused():
    with pytest.raises(OptionError, match="plugin 'age-gender': option 'batch' got 0: input should be greater"):
        AgeGenderClassifier(batch=0)


def test_threads_that_need_the_network_at_once_load_it_once(weights, monkeypatch):
    classifier = AgeGenderClassifier(weights=str(weights))
    made, both = [], threading.Barrier(2)

    def load(*_, **__):
        made.append(threading.current_thread())
        time.sleep(0)  # lets the other one go on, were it not to wait
        return object()

    monkeypatch.setattr("framehook_plugins.agegender.inference.Estimator", load)

    def ask():
        both.wait()
        return classifier._estimator

    with ThreadPoolExecutor(2) as pool:
        one, other = (asked.result() for asked in [pool.submit(ask), pool.submit(ask)])
    assert one is other
    assert len(made) == 1


def test_a_graphics_card_that_is_not_there_is_told_at_once(weights):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(DeviceError, match="device 'cuda' is not there"):
        AgeGenderClassifier(weights=str(weights), device="cuda")


def test_a_file_of_another_kind_is_refused_before_any_frame(tmp_path):
    torch.save({"step": 1}, tmp_path / "checkpoint.pt")
    (tmp_path / "empty.safetensors").touch()

    for name in ("checkpoint.pt", "empty.safetensors"):
        with pytest.raises(
            OptionError, match=rf"{name}' are no safetensors file, want what a training run calls model"
        ) as raised:
            classifier(tmp_path / name)
        assert "did you mean" not in str(raised.value)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(OptionError, match=r"; did you mean '.*/model\.safetensors'\?"):
        classifier(tmp_path / "checkpoint.pt")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(8) + b"{")

    with pytest.raises(ModelError, match=r"weights\.safetensors' cannot be read as a safetensors file"):
        classifier(path).classify([make_frame(noise(0))], [faces([0, 0, 50, 50])])


def test_choosing_the_classifier_does_not_load_torch():
    code = (
        "import sys; from framehook_plugins.agegender.classifier import AgeGenderClassifier, find_weights; "
        "AgeGenderClassifier(); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"
