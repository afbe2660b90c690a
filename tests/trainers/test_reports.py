import json
import os
import sys

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from framehook import OutputError
from framehook_plugins.agegender.checkpoint import Header, read_header
from framehook_plugins.agegender.classifier import BUNDLED
from framehook_plugins.agegender.outputs import AgeClasses, AgeDistribution, AgeValue, GenderLogit, Outputs
from framehook_trainers.datasets.fairface import BRACKETS
from framehook_trainers.metrics import Answers, Labels, bracket_of, measure
from framehook_trainers.reports import model_card, plots, write_plots, write_run_report, write_text
from framehook_trainers.reports.card import built_on_others
from framehook_trainers.reports.gallery import gallery, worst_ages, worst_genders

LOG = [
    {
        "epoch": epoch,
        "step": 100 * epoch,
        "seconds": 30.0,
        "images_per_second": 1000.0,
        "rate": 0.003 / epoch,
        "losses": {"age": 2 + 2 / epoch, "gender": 0.6 / epoch},
        "validation": {
            "utkface.gender.accuracy": 0.95 - 0.3 / epoch,
            "fairface.gender.accuracy": 0.9 - 0.3 / epoch,
            "utkface.age.mae": 4 + 3 / epoch,
            "doubt": 1.0,
        },
        "best": True,
    }
    for epoch in (1, 2, 3)
]


def header(**changes):
    values = {
        "architecture": "resnet18",
        "options": {"width": 48},
        "input_size": 112,
        "colour": "RGB",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "crop_margin": -0.12,
        "crop_shift": 0.12,
        "crop_border": "white",
        "outputs": Outputs(age=AgeDistribution(first=0, last=100), gender=GenderLogit()),
        "age_range": (1, 90),
        "training_data": "some faces of a set",
        "licence": "The terms of that set.",
        "recipe": "framehook train any --epochs 3",
        "metrics": {},
        "date": "2026-11-22",
    }
    return Header(**{**values, **changes})


@pytest.fixture(scope="module")
def measured():
    """Answers on 400 faces, drawn to the middle and now and again wrong, and their labels."""
    random = np.random.default_rng(0)
    age = random.integers(0, 90, 400)
    female = random.integers(0, 2, 400)
    answers = Answers(
        age=(0.8 * age + 7 + random.normal(0, 5, 400)).clip(0),
        age_std=np.full(400, 6.0),
        female=1 / (1 + np.exp(-random.normal(5 * female - 2.5, 2.5))),
    )
    races = np.array(["Asian", "White"])[random.integers(0, 2, 400)]
    return answers, Labels(ages=np.stack([age, age], axis=1), female=female.astype(np.int8), races=races)


def grey_crops(rows):
    return np.stack([np.full((32, 32, 3), row % 256, np.uint8) for row in rows])


def in_brackets(labels):
    brackets = np.array(list(BRACKETS.values()))[bracket_of(labels.ages[:, 0])]
    return Labels(ages=brackets, female=labels.female, races=labels.races)


def unlabelled(labels):
    n = len(labels)
    return Labels(ages=np.full((n, 2), -1), female=np.full(n, -1, np.int8), races=np.full(n, "", dtype=np.str_))


def texts(figure: Figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_a_run_leaves_metrics_plots_gallery_and_card(tmp_path, measured):
    answers, labels = measured

    metrics = write_run_report(tmp_path / "run", header=header(), answers=answers, labels=labels, crops_of=grey_crops, log=LOG)

    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "confusion-age.png", "confusion-gender.png", "learning-curves.png", "metrics.json", "model-card.md",
        "predicted-age.png", "reliability.png", "worst-errors.png",
    }  # fmt: skip
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    for path in (tmp_path / "run").glob("*.png"):
        assert cv2.imread(str(path)).shape[0] > 300


@pytest.mark.parametrize("change", [in_brackets, unlabelled], ids=["brackets", "no labels"])
def test_every_plot_is_drawn_whatever_is_labelled(tmp_path, measured, change):
    answers, labels = measured

    write_plots(tmp_path, answers=answers, labels=change(labels), crops_of=grey_crops)

    assert len(list(tmp_path.glob("*.png"))) == 5


def test_a_file_that_cannot_be_written_is_told_and_leaves_no_part(tmp_path, measured):
    answers, labels = measured
    (tmp_path / "reliability.png").mkdir()

    with pytest.raises(OutputError, match=r"cannot write '.*reliability.png': .*; choose another place, or make room"):
        write_plots(tmp_path, answers=answers, labels=labels, crops_of=grey_crops)

    assert not list(tmp_path.glob("*.part"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no such pipes, and links need rights there")
def test_a_link_is_followed_and_a_pipe_is_written_into(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "far" / "metrics.json")
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)  # a reader, without which a writer waits

    for name in ("link.json", "pipe"):
        write_text(tmp_path / name, "{}\n")

    assert os.read(descriptor, 100) == b"{}\n"
    os.close(descriptor)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link.json").is_symlink()
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["metrics.json"]


def test_learning_curves_have_a_panel_for_each_kind_of_number_and_a_line_for_each_set():
    panels = {axes.get_ylabel(): axes for axes in plots.learning_curves(LOG).axes}

    assert panels.keys() == {"loss", "gender right (%)", "mean absolute error of age (years)", "doubt", "learning rate"}
    assert [line.get_label() for line in panels["loss"].lines] == ["age", "gender"]
    sets = panels["gender right (%)"].lines
    assert [line.get_label() for line in sets] == ["utkface", "fairface"]
    assert sets[0].get_xydata().tolist() == [pytest.approx([e, 95 - 30 / e]) for e in (1, 2, 3)]


def test_the_confusion_matrix_counts_labels_by_answers(measured):
    answers = Answers(age=np.array([1.0, 5, 5, 5]), age_std=np.ones(4), female=np.array([0.1, 0.9, 0.9, 0.2]))
    labels = Labels(ages=np.array([[1, 1], [0, 2], [5, 5], [3, 9]]), female=np.array([0, 0, 1, -1]), races=np.full(4, ""))

    assert texts(plots.gender_confusion(answers, labels)) == ["50 %\n1", "50 %\n1", "100 %\n1"]
    assert texts(plots.bracket_confusion(answers, labels)) == ["50 %\n1", "50 %\n1", "100 %\n2"]


def test_the_mean_estimate_is_drawn_against_the_label(measured):
    answers, labels = measured

    [mean, _diagonal] = plots.predicted_against_true(answers, labels).axes[0].lines

    slope = np.polyfit(*mean.get_xydata().T, 1)[0]
    assert slope == pytest.approx(0.8, abs=0.05)


def test_the_reliability_diagram_says_the_calibration_error_and_counts_every_image(measured):
    answers, labels = measured

    above, below = plots.reliability_diagram(answers, labels).axes

    assert above.get_title() == f"expected calibration error {measure(answers, labels)['calibration']['ece']:.1%}"
    assert sum(bar.get_height() for bar in below.patches) == 400


def test_the_worst_errors_come_first_and_right_answers_not_at_all():
    answers = Answers(age=np.array([30.0, 80, 25, 30, 10]), age_std=np.full(5, 4.0), female=np.array([0.9, 0.2, 0.99, 0.6, 0.7]))
    labels = Labels(
        ages=np.array([[30, 30], [60, 69], [40, 40], [-1, -1], [11, 11]]),
        female=np.array([0, 0, 0, 0, -1], np.int8),
        races=np.full(5, ""),
    )

    assert worst_genders(answers, labels, most=2).tolist() == [2, 0]
    assert worst_ages(answers, labels, most=3).tolist() == [2, 1, 4]


def test_the_gallery_says_label_and_answer_beneath_each_face(measured):
    answers = Answers(age=np.array([34.0]), age_std=np.array([5.6]), female=np.array([0.987]))
    labels = Labels(ages=np.array([[60, 69]]), female=np.array([0], np.int8), races=np.array([""]))

    shown = texts(gallery(answers, labels, crops_of=grey_crops))

    assert shown == ["label: male, 60-69\nsaid: female, 98.7 %", "label: 60-69, male\nsaid: 34 ± 6"]


def test_the_card_says_what_it_is_for_how_it_was_made_and_how_right_it_is(measured):
    metrics = measure(*measured)

    card = model_card("ours", header=header(), metrics=metrics, log=LOG, hardware="one abacus")

    assert card.startswith("# ours\n")
    for said in (
        "an estimate of how a face looks, no fact about a person",
        "| network | `resnet18` (width 48) |",
        "beyond the picture white",
        "| made by | `framehook train any --epochs 3` |",
        "| training | 3 epochs, 90 seconds, 1,000 images/s |",
        "| hardware | one abacus |",
        "Trained on some faces of a set.\n\nThe terms of that set.",
        f"| gender right | {metrics['gender']['accuracy']:.1%}".replace("%", " %"),
        f"| age, mean absolute error | {metrics['age']['mae']:.2f} years |",
        "By race, as labelled:",
        f"against {metrics['groups']['largest_gap']['worst']['value']:.1%} of".replace("%", " %"),
        "On average these look older to it than labelled: 3-9 (by",
        "On average these look younger to it than labelled: 40-49 (by",
        ", 70 and more (by",
    ):
        assert said in card
    assert "Not as good for all" not in card, "the groups differ by chance only"


@pytest.mark.parametrize("only_gender", [None, "female"])
def test_the_card_tells_of_a_training_set_of_one_gender(measured, only_gender):
    card = model_card("ours", header=header(), metrics=measure(*measured), log=LOG[:1], only_gender=only_gender)

    assert ("- All faces that it learned genders from are female" in card) is (only_gender is not None)
    assert "| training | 1 epoch, 30 seconds" in card


def test_the_card_does_not_vouch_for_what_earlier_weights_have_seen(measured):
    alone = model_card("ours", header=header(), metrics=measure(*measured), log=LOG)
    begun = header(training_data="5 faces of a set; begun with weights trained on 9 faces of a set")

    assert "none of which this training saw" in alone
    assert "may have seen" not in alone
    assert "**The weights that it began with, or was taught by, may have seen some" in model_card(
        "ours", header=begun, metrics=measure(*measured), log=LOG
    )


def test_the_cards_of_the_bundled_weights_say_what_those_before_them_have_seen():
    for weights in BUNDLED.glob("*.safetensors"):
        assert built_on_others(read_header(weights))
        assert "trained on the same prepared faces" in weights.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("temperature", "is_told"), [(1.3, False), (0.05, True), (19.99, True)])
def test_the_card_tells_of_a_temperature_that_could_not_be_fitted(measured, temperature, is_told):
    outputs = header().outputs.model_copy(update={"gender_temperature": temperature})

    card = model_card("ours", header=header(outputs=outputs), metrics=measure(*measured), log=LOG)

    assert ("The gender probability is not calibrated: its temperature ran to an end of its range" in card) is is_told


def test_the_card_tells_the_data_sets_apart(measured):
    parts = {
        "utkface test": {
            "gender.accuracy": {"value": 0.95, "low": 0.94, "high": 0.96},
            "age.mae": {"value": 4, "low": 3, "high": 5},
        },
        "fairface test": {"gender.accuracy": {"value": 0.9, "low": 0.89, "high": 0.91}},
    }

    card = model_card("any", header=header(metrics=parts), metrics=measure(*measured), log=[])

    assert "| part | gender right | age, mean absolute error |" in card
    assert "| utkface test | 95.0 % (94.0 % to 96.0 %) | 4.00 years (3.00 years to 5.00 years) |" in card
    assert "| fairface test | 90.0 % (89.0 % to 91.0 %) | - |" in card


def test_the_card_tells_of_a_group_for_whom_the_gender_is_less_often_right(measured):
    answers, labels = measured
    asian = labels.races == "Asian"
    answers = Answers(age=answers.age, age_std=answers.age_std, female=np.where(asian, labels.female, 1 - labels.female))

    card = model_card("any", header=header(), metrics=measure(answers, labels), log=[])

    assert f"Not as good for all: gender right, by race: 100.0 % of {asian.sum()} 'Asian' against 0.0 %" in card


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (AgeDistribution(first=0, last=100), "a distribution over the years 0 to 100"),
        (AgeClasses(brackets=((0, 20), (21, 75))), "a distribution over 2 brackets of years"),
        (AgeValue(std=5.25), "one number, its standard deviation always 5.2 years"),
    ],
    ids=["distribution", "classes", "value"],
)
def test_the_card_names_the_layout_of_the_age(measured, age, words):
    outputs = Outputs(age=age, gender=GenderLogit())

    assert words in model_card("any", header=header(outputs=outputs), metrics=measure(*measured), log=[])


def test_what_the_labels_do_not_allow_is_not_in_the_card(measured):
    answers, labels = measured

    card = model_card("any", header=header(), metrics=measure(answers, in_brackets(labels)), log=[])

    assert "mean absolute error" not in card
    assert "age in the right one of nine brackets" in card
