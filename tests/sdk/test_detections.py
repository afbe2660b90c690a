"""The record `Detections`: arrays inside, rows at the edges."""

import copy
import math
import pickle
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from framehook import NO_TRACK, Detection, Detections


def people() -> Detections:
    return Detections(
        boxes=[[0, 0, 10, 20], [5, 5, 15, 25], [30, 40, 50, 60]],
        scores=[0.9, 0.8, 0.7],
        labels=[0, 1, 0],
        tracks=[3, -1, 4],
        names=("face", "person"),
        attributes={
            "age": np.array([30.5, math.nan, 8.0], np.float32),
            "gender": np.array(["female", "", "male"]),
            "landmarks": np.arange(30, dtype=np.float32).reshape(3, 5, 2),
        },
    )


def test_lists_become_arrays_of_the_documented_types() -> None:
    found = people()
    types = [array.dtype for array in (found.boxes, found.scores, found.labels, found.tracks)]
    assert types == [np.float32, np.float32, np.int64, np.int64]
    assert len(found) == 3


def test_what_is_not_given_is_sure_a_face_and_on_no_track() -> None:
    found = Detections(boxes=[[0, 0, 1, 1], [2, 2, 3, 3]])
    assert found.scores.tolist() == [1, 1]
    assert found.labels.tolist() == [0, 0]
    assert found.tracks.tolist() == [NO_TRACK, NO_TRACK]
    assert found.names == ("face",)
    assert dict(found.attributes) == {}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"boxes": [0, 0, 1, 1]}, r"boxes must be \(n, 4\), got \(4,\)"),
        ({"boxes": [[0, 0, 1]]}, r"boxes must be \(n, 4\), got \(1, 3\)"),
        ({"boxes": [[]]}, r"boxes must be \(n, 4\), got \(1, 0\)"),
        ({"scores": [1.0, 1.0]}, r"scores must be \(1,\) like the boxes, got \(2,\)"),
        ({"scores": [[1.0]]}, r"scores must be \(1,\) like the boxes, got \(1, 1\)"),
        ({"labels": []}, r"labels must be \(1,\) like the boxes, got \(0,\)"),
        ({"tracks": 7}, r"tracks must be \(1,\) like the boxes, got \(\)"),
        ({"labels": [1]}, r"labels must be 0 to 0 for names \('face',\), got \[1\]"),
        ({"labels": [-1]}, r"labels must be 0 to 0 for names \('face',\), got \[-1\]"),
        ({"names": ()}, r"labels must be 0 to -1 for names \(\), got \[0\]"),
        ({"attributes": {"age": [1, 2]}}, r"attribute 'age' must have length 1 like the boxes, got shape \(2,\)"),
        ({"attributes": {"age": 30}}, r"attribute 'age' must have length 1 like the boxes, got shape \(\)"),
        ({"names": "face"}, r"names must be a tuple of words, such as \('face', 'person'\), got 'face'"),
        ({"names": {0: "face"}}, r"names must be a tuple of words, .*, got \{0: 'face'\}"),
        ({"names": (1, 2)}, r"names must be a tuple of words, .*, got \(1, 2\)"),
        ({"names": [1, 2]}, r"names must be a tuple of words, .*, got \[1, 2\]"),
        ({"labels": [0.7]}, r"labels must be whole numbers, got \[0\.7\]"),
        ({"tracks": [2.7]}, r"tracks must be whole numbers, got \[2\.7\]"),
        ({"attributes": {"who": [None]}}, "attribute 'who' must be numbers or strings, got an array of objects"),
        (
            {"attributes": {"who": np.array(["me"], object)}},
            "attribute 'who' must be numbers or strings, got an array of objects",
        ),
        ({"attributes": {"who": [b"me"]}}, r"attribute 'who' must be numbers or strings, got an array of type \|S2"),
        (
            {"attributes": {"at": [np.datetime64("2024-01-01")]}},
            r"attribute 'at' must be .*, got an array of type datetime64\[D\]",
        ),
    ],
    ids=[
        "one-flat-box",
        "three-columns",
        "an-empty-box",
        "two-scores",
        "scores-in-columns",
        "no-labels",
        "one-bare-track",
        "label-without-a-name",
        "negative-label",
        "no-names",
        "one-name",
        "a-table-of-names",
        "numbers-for-names",
        "a-list-of-numbers-for-names",
        "half-a-label",
        "half-a-track",
        "attribute-too-long",
        "attribute-without-a-length",
        "attribute-of-objects",
        "attribute-of-strings-as-objects",
        "attribute-of-bytes",
        "attribute-of-dates",
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_was_got_and_wanted(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Detections(**{"boxes": [[0, 0, 1, 1]], **fields})


def test_empty_has_no_rows_and_the_given_names() -> None:
    nothing = Detections.empty(names=("car", "bus"))
    assert (len(nothing), nothing.boxes.shape, nothing.names) == (0, (0, 4), ("car", "bus"))
    assert list(nothing) == []


def test_a_list_of_no_boxes_has_no_rows() -> None:
    nothing = Detections(boxes=[], scores=[], attributes={"age": []})
    assert (len(nothing), nothing.boxes.shape) == (0, (0, 4))


@pytest.mark.parametrize("names", [["car", "bus"], np.array(["car", "bus"])], ids=["list", "array"])
def test_names_become_a_tuple_of_words(names: Any) -> None:
    found = Detections(boxes=[[0, 0, 1, 1]], labels=[1], names=names)
    assert found.names == ("car", "bus")
    assert type(found.names[1]) is str


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="came with numpy 2")
def test_strings_of_variable_width_become_strings_of_a_fixed_one() -> None:
    found = people().with_attributes(who=np.array(["me", "", "you"], np.dtypes.StringDType()))
    assert found.attributes["who"].dtype == np.dtype("<U3")
    assert found[[]].with_attributes(who=np.array([], np.dtypes.StringDType())).attributes["who"].dtype.kind == "U"


@pytest.mark.parametrize(
    "make",
    [
        lambda: people(),
        lambda: people()[1:],
        lambda: people()[[2, 0]],
        lambda: people()[[True, False, True]],
        lambda: people().with_tracks([1, 2, 3]),
        lambda: people().with_attributes(age=[1.0, 2.0, 3.0]),
        lambda: people().without_attributes("gender"),
        lambda: Detections.concatenate([people(), people()]),
        lambda: Detections.empty(),
        lambda: pickle.loads(pickle.dumps(people())),
    ],
    ids=["made", "slice", "indices", "mask", "tracks", "attributes", "without", "joined", "empty", "pickled"],
)
def test_every_array_is_read_only(make: Callable[[], Detections]) -> None:
    found = make()
    for array in (found.boxes, found.scores, found.labels, found.tracks, *found.attributes.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = array


def test_the_arrays_that_a_record_is_made_of_stay_the_callers_own() -> None:
    boxes, tracks, ages = np.zeros((1, 4), np.float32), np.array([1]), np.array([30.0])
    found = Detections(boxes=boxes, tracks=tracks, attributes={"age": ages})
    more = found.with_tracks(tracks).with_attributes(older=ages)
    boxes += 1
    tracks += 1
    ages += 1
    assert (found.boxes.max(), found.tracks[0], found.attributes["age"][0]) == (0, 1, 30)
    assert (more.tracks[0], more.attributes["older"][0]) == (1, 30)


def test_iteration_yields_rows_of_plain_python_values() -> None:
    first, second, _ = people()
    assert isinstance(first, Detection)
    assert (first.box, first.label, first.track) == ((0, 0, 10, 20), "face", 3)
    assert (second.label, second.track, second.attributes["gender"]) == ("person", -1, "")
    assert first.score == pytest.approx(0.9)
    assert math.isnan(second.attributes["age"])
    assert [type(value) for value in (*first.box, first.score, first.track)] == [float] * 5 + [int]
    assert [type(first.attributes[name]) for name in ("age", "gender", "landmarks")] == [float, str, np.ndarray]
    assert first.attributes["landmarks"].shape == (5, 2)


@pytest.mark.parametrize(
    ("rows", "tracks"),
    [
        ([True, False, True], [3, 4]),
        (np.array([False, False, False]), []),
        (slice(1, None), [-1, 4]),
        (slice(None, None, -1), [4, -1, 3]),
        ([2, 0], [4, 3]),
        (np.array([1, 1]), [-1, -1]),
        ([-1], [4]),
        ([], []),
    ],
    ids=["mask", "mask-of-none", "slice", "reversed", "indices", "repeated", "from-the-end", "empty-list"],
)
def test_rows_are_selected_by_mask_slice_or_indices(rows: Any, tracks: list[int]) -> None:
    some = people()[rows]
    assert some.tracks.tolist() == tracks
    assert some.names == ("face", "person")
    assert {name: values.shape for name, values in some.attributes.items()} == {
        "age": (len(tracks),),
        "gender": (len(tracks),),
        "landmarks": (len(tracks), 5, 2),
    }


@pytest.mark.parametrize("row", [0, np.int64(0)], ids=["int", "numpy-int"])
def test_a_single_row_is_not_taken_for_a_selection(row: Any) -> None:
    with pytest.raises(TypeError, match="select rows with a mask, a slice or a list of indices; for one row: list"):
        people()[row]


def test_a_mask_of_another_length_is_an_error() -> None:
    with pytest.raises(IndexError, match="boolean index did not match"):
        people()[[True, False]]


def test_an_empty_record_can_be_selected_from() -> None:
    nothing = Detections.empty()
    assert len(nothing[[]]) == len(nothing[nothing.scores > 0.5]) == len(nothing[:5]) == 0


def test_concatenate_joins_what_slices_took_apart() -> None:
    found = people()
    joined = Detections.concatenate([found[:1], found[1:1], found[1:]])
    for name in ("boxes", "scores", "labels", "tracks"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(found, name))
    for name, values in found.attributes.items():
        np.testing.assert_array_equal(joined.attributes[name], values)
    assert joined.names == found.names


def test_concatenate_of_strings_keeps_the_longest() -> None:
    one, other = (people()[:1].with_attributes(gender=[word]) for word in ("f", "undecided"))
    assert Detections.concatenate([one, other]).attributes["gender"].tolist() == ["f", "undecided"]


def test_concatenate_of_nothing_is_empty() -> None:
    assert len(Detections.concatenate([])) == 0


def test_concatenate_goes_by_the_words_of_labels() -> None:
    cars = Detections(boxes=np.zeros((2, 4)), labels=[0, 1], names=("car", "person"))
    faces = Detections(boxes=np.zeros((3, 4)), labels=[1, 0, 2], names=("person", "face", "car"))
    joined = Detections.concatenate([cars, faces])
    assert joined.names == ("car", "person", "face")
    assert [each.label for each in joined] == ["car", "person", "face", "person", "car"]


def test_concatenate_passes_over_records_of_nothing() -> None:
    found = people()
    joined = Detections.concatenate([Detections.empty(names=("car",)), found, Detections.empty()])
    assert (len(joined), joined.names, joined.attributes.keys()) == (len(found), found.names, found.attributes.keys())
    assert Detections.concatenate([Detections.empty(names=("car",)), Detections.empty()]).names == ("car",)


def test_concatenate_of_different_attributes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one with the attributes \['age', 'gender', 'landmarks'\], and one with \['gender', "):
        Detections.concatenate([people(), people().without_attributes("age")])


def test_attributes_are_added_and_replaced_in_a_copy() -> None:
    found = people()
    more = found.with_attributes(age=[1, 2, 3], mood=["glad", "sad", ""])
    assert more.attributes["age"].tolist() == [1, 2, 3]
    assert more.attributes["mood"].tolist() == ["glad", "sad", ""]
    assert "mood" not in found.attributes
    assert found.attributes["age"][0] == 30.5


def test_attributes_are_taken_away_in_a_copy() -> None:
    found = people()
    assert list(found.without_attributes("age", "no such thing").attributes) == ["gender", "landmarks"]
    assert list(found.attributes) == ["age", "gender", "landmarks"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found.with_attributes(age=[1]), r"attribute 'age' must have length 3 like the boxes, got shape \(1,\)"),
        (lambda found: found.with_tracks([1]), r"tracks must be \(3,\) like the boxes, got \(1,\)"),
    ],
    ids=["attributes", "tracks"],
)
def test_copies_are_validated_too(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(people())


def test_tracks_are_replaced_in_a_copy() -> None:
    found = people()
    assert found.with_tracks([7, 8, 9]).tracks.tolist() == [7, 8, 9]
    assert found.tracks.tolist() == [3, -1, 4]


@pytest.mark.parametrize("name", ["boxes", "names", "attributes"])
def test_fields_cannot_be_replaced_in_place(name: str) -> None:
    with pytest.raises(AttributeError, match=f"cannot assign to field '{name}'"):
        setattr(people(), name, ())


def test_attributes_cannot_be_added_in_place() -> None:
    found = people()
    assert isinstance(found.attributes, MappingProxyType)
    with pytest.raises(TypeError, match="does not support item assignment"):
        found.attributes["age"] = np.zeros(3)  # type: ignore[index]  # that it is refused is what is tested


def test_the_repr_shows_shapes_not_numbers() -> None:
    found = people().without_attributes("gender")
    assert repr(found) == "Detections(3 of ('face', 'person'), attributes: age (3,), landmarks (3, 5, 2))"
    assert repr(Detections.empty()) == "Detections(0 of ('face',), attributes: none)"


def test_a_record_can_be_pickled_and_copied():
    found = Detections(boxes=[[1, 2, 3, 4]], tracks=[5], attributes={"gender": ["female"]})
    for other in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        assert (other.boxes.tolist(), other.tracks.tolist()) == ([[1, 2, 3, 4]], [5])
        assert other.attributes["gender"].tolist() == ["female"]
