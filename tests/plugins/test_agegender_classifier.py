import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from framehook import Classifier, Detections, DeviceError, ModelError, OptionError
from framehook.testing import ClassifierConformance, make_frame
from framehook_plugins.agegender import checkpoint
from framehook_plugins.agegender.classifier import AgeGenderClassifier
from framehook_plugins.agegender.crop import cut, squares
from framehook_plugins.agegender.model import AgeGenderNet, network_input

HEADER = checkpoint.Header(
    architecture="resnet18",
    width=4,
    input_size=32,
    colour="RGB",
    mean=(0.5, 0.45, 0.4),
    std=(0.25, 0.25, 0.25),
    crop_margin=-0.2,
    crop_shift=0.12,
    output_ages=(0, 100),
    output_gender="female",
    age_range=(1, 100),
    training_data="random numbers",
    licence="none",
    recipe="a test",
    metrics={"nothing": {"gender_accuracy": 0.5}},
    date="2026-01-01",
)


def noise(seed, width=120, height=100):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return coarse.repeat(10, 0).repeat(10, 1)


def faces(*boxes, **attributes):
    return Detections(boxes=np.array(boxes, np.float32).reshape(-1, 4), attributes=attributes)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = AgeGenderNet(width=HEADER.width)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn_like(parameter)  # so that different faces get different answers
    checkpoint.write(tmp_path / "tiny.safetensors", network, HEADER)
    return tmp_path / "tiny.safetensors"


def classifier(weights, **options):
    return AgeGenderClassifier(weights=str(weights), device="cpu", precision="float32", **options)


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


def test_the_numbers_are_those_of_the_network(weights):
    image, found = noise(1), faces([10, 10, 60, 60])
    network, header = checkpoint.read(weights)
    crop = cut(image, squares(found.boxes, margin=header.crop_margin, shift=header.crop_shift), header.input_size)
    with torch.inference_mode():
        prediction = network(network_input(torch.from_numpy(crop), mean=header.mean, std=header.std))
    years = torch.arange(101)
    p = prediction.age_logits.softmax(1)[0]
    female = float(prediction.gender_logits.sigmoid())

    (result,) = classifier(weights, flip=False).classify([make_frame(image)], [found])

    mean = float((p * years).sum())
    assert result.attributes["age"][0] == pytest.approx(mean, abs=1e-3)
    assert result.attributes["age_std"][0] == pytest.approx(float((p * (years - mean) ** 2).sum().sqrt()), abs=1e-3)
    assert result.attributes["gender"][0] == ("female" if female >= 0.5 else "male")
    assert result.attributes["gender_score"][0] == pytest.approx(max(female, 1 - female), abs=1e-4)


def test_a_mirrored_picture_gets_the_same_answer_with_flip(weights):
    image = noise(2)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    box, mirrored_box = [20, 10, 70, 60], [50, 10, 100, 60]

    for flip, same in ((True, True), (False, False)):
        plain, turned = classifier(weights, flip=flip).classify(
            [make_frame(image), make_frame(mirrored)], [faces(box), faces(mirrored_box)]
        )
        assert np.isclose(plain.attributes["age"], turned.attributes["age"], atol=1e-3).all() == same


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

    results = classifier(weights).classify(
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


def test_bfloat16_agrees_with_float32(weights):
    found = faces([10, 10, 60, 60], [50, 20, 110, 90])
    half = AgeGenderClassifier(weights=str(weights), device="cpu", precision="bfloat16")

    (exact,) = classifier(weights).classify([make_frame(noise(0))], [found])
    (rounded,) = half.classify([make_frame(noise(0))], [found])

    np.testing.assert_allclose(rounded.attributes["age"], exact.attributes["age"], atol=1)


def test_weights_that_are_not_there_are_told_with_those_that_are():
    with pytest.raises(OptionError, match="weights 'nowhere' are neither a file nor bundled; bundled: default"):
        AgeGenderClassifier(weights="nowhere")


def test_a_graphics_card_that_is_not_there_is_told_at_once(weights):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(DeviceError, match="device 'cuda' is not there"):
        AgeGenderClassifier(weights=str(weights), device="cuda")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("hello, I am a pickle")

    with pytest.raises(ModelError, match=r"weights\.safetensors' cannot be read as a safetensors file"):
        classifier(path).classify([make_frame(noise(0))], [faces([0, 0, 50, 50])])


@pytest.mark.parametrize("field", list(checkpoint.Header.model_fields))
def test_a_header_that_lacks_a_field_is_refused_with_its_name(weights, field):
    rewrite(weights, lambda metadata, tensors: metadata.pop(field))

    with pytest.raises(ModelError, match=rf"tiny\.safetensors' lacks the field '{field}'"):
        checkpoint.read(weights)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "framehook-age-gender-9"),
        ("architecture", "transformer"),
        ("width", "many"),
        ("colour", "BGR"),
        ("mean", "[0.5, 0.5]"),
        ("std", "not JSON"),
        ("output_ages", "[0, 50]"),
        ("metrics", "[]"),
    ],
)
def test_a_header_with_a_bad_value_is_refused_with_its_field(weights, field, value):
    rewrite(weights, lambda metadata, tensors: metadata.update({field: value}))

    with pytest.raises(ModelError, match=rf"tiny\.safetensors' .*'{field}'"):
        checkpoint.read(weights)


def test_a_file_without_a_tensor_is_refused_with_its_name(weights):
    rewrite(weights, lambda metadata, tensors: tensors.pop("age.weight"))

    with pytest.raises(ModelError, match=r"tiny\.safetensors' lacks the tensor 'age\.weight'"):
        checkpoint.read(weights)


def test_a_tensor_of_another_shape_is_refused_with_its_name(weights):
    rewrite(weights, lambda metadata, tensors: tensors.update({"age.bias": torch.zeros(7)}))

    with pytest.raises(ModelError, match=r"has 'age\.bias' of shape \(7,\), want \(101,\)"):
        checkpoint.read(weights)


def test_a_truncated_file_is_refused(weights):
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(ModelError, match=r"tiny\.safetensors' cannot be read"):
        checkpoint.read(weights)


def test_what_is_written_is_read_back(weights):
    network, header = checkpoint.read(weights)

    assert header == HEADER
    assert not network.training


def test_choosing_the_classifier_does_not_load_torch():
    code = (
        "import sys; from framehook_plugins.agegender.classifier import AgeGenderClassifier; "
        "AgeGenderClassifier(); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"


def rewrite(path, change):
    with safe_open(path, framework="pt") as file:
        metadata, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(metadata, tensors)
    save_file(tensors, path, metadata=metadata)
