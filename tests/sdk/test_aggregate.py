import numpy as np
import pytest

from framehook import Column, Detections
from framehook.aggregate import TrackAggregator

COLUMNS = (
    Column(name="age", aggregate="mean"),
    Column(name="age_std", aggregate="std", of="age"),
    Column(name="gender", aggregate="vote", of="gender_score", categories=("female", "male")),
    Column(name="gender_score", aggregate="probability", of="gender"),
)


def faces(tracks):
    return Detections(boxes=np.zeros((len(tracks), 4)), tracks=tracks)


def view(track, *, age, std, gender, score, quality):
    return faces([track]).with_attributes(
        age=np.float32([age]), age_std=np.float32([std]), gender=[gender], gender_score=np.float32([score]), quality=[quality]
    )


def report(aggregator, detections, views=None, rows=(), seconds=0.0):
    views = detections[[]] if views is None else views
    return aggregator.report(detections, views, np.array(rows, dtype=np.int64), seconds).attributes


def test_a_track_reports_the_weighted_mixture_of_its_views():
    aggregator = TrackAggregator(COLUMNS)
    report(aggregator, faces([1]), view(1, age=30, std=4, gender="male", score=0.9, quality=1.0), [0])
    said = report(aggregator, faces([1]), view(1, age=40, std=6, gender="female", score=0.6, quality=0.5), [0])
    mean = (30 + 0.5 * 40) / 1.5
    second = ((30**2 + 4**2) + 0.5 * (40**2 + 6**2)) / 1.5
    male = (0.9 + 0.5 * 0.4) / 1.5
    assert said["age"] == pytest.approx([mean])
    assert said["age_std"] == pytest.approx([(second - mean**2) ** 0.5])
    assert said["gender"].tolist() == ["male"]
    assert said["gender_score"] == pytest.approx([male])


def test_what_is_not_known_is_missing_and_of_the_columns_types():
    said = report(TrackAggregator(COLUMNS), faces([1, -1]))
    assert np.isnan(said["age"]).all()
    assert said["gender"].tolist() == ["", ""]
    assert [said[column.name].dtype.kind for column in COLUMNS] == ["f", "f", "U", "f"]
    assert report(TrackAggregator(COLUMNS), faces([]))["gender"].dtype == np.dtype("<U6")


def test_a_detection_without_a_track_reports_its_own_view_alone():
    aggregator = TrackAggregator(COLUMNS)
    report(aggregator, faces([-1]), view(-1, age=30, std=4, gender="male", score=0.9, quality=1.0), [0])
    said = report(aggregator, faces([7, -1]), view(-1, age=50, std=4, gender="female", score=0.8, quality=1.0), [1])
    assert np.isnan(said["age"][0])
    assert said["age"][1] == 50
    assert said["gender"].tolist() == ["", "female"]


def test_a_view_of_no_quality_counts_only_when_there_is_no_better():
    aggregator = TrackAggregator(COLUMNS)
    said = report(aggregator, faces([1]), view(1, age=80, std=1, gender="male", score=0.9, quality=0.0), [0])
    assert said["age"] == pytest.approx([80])
    said = report(aggregator, faces([1]), view(1, age=30, std=1, gender="male", score=0.9, quality=1.0), [0])
    assert said["age"] == pytest.approx([30], abs=0.01)


def test_a_track_that_is_gone_for_long_is_forgotten():
    aggregator = TrackAggregator(COLUMNS)
    report(aggregator, faces([1]), view(1, age=80, std=1, gender="male", score=0.9, quality=1.0), [0])
    assert report(aggregator, faces([1]), seconds=500)["age"] == pytest.approx([80])
    report(aggregator, faces([]), seconds=2000)
    assert np.isnan(report(aggregator, faces([1]), seconds=2001)["age"]).all()


def test_the_last_value_is_the_last_one():
    aggregator = TrackAggregator((Column(name="mood"),))
    report(aggregator, faces([1]), faces([1]).with_attributes(mood=["calm"]), [0])
    said = report(aggregator, faces([1]), faces([1]).with_attributes(mood=["angry"]), [0])
    assert said["mood"].tolist() == ["angry"]


def words(tracks, *said):
    return faces(tracks).with_attributes(mood=list(said))


def test_the_last_word_stays_whole_whatever_is_seen_beside_it():
    aggregator = TrackAggregator((Column(name="mood"),))
    report(aggregator, faces([1]), words([1], "furious"), [0])
    assert report(aggregator, faces([1, 2]))["mood"].tolist() == ["furious", ""]
    assert report(aggregator, faces([1, 2]), words([2], "calm"), [1])["mood"].tolist() == ["furious", "calm"]


def test_the_last_number_stays_exact():
    aggregator = TrackAggregator((Column(name="badge"),))
    report(aggregator, faces([1]), faces([1]).with_attributes(badge=[123456789]), [0])
    said = report(aggregator, faces([1, 2]))["badge"]
    assert said[0] == 123456789
    assert np.isnan(said[1])


def test_a_view_that_says_nothing_changes_nothing():
    aggregator = TrackAggregator(COLUMNS)
    report(aggregator, faces([1]), view(1, age=np.nan, std=4, gender="", score=np.nan, quality=1.0), [0])
    assert report(aggregator, faces([1]))["gender"].tolist() == [""]
    report(aggregator, faces([1]), view(1, age=30, std=4, gender="male", score=0.9, quality=1.0), [0])
    said = report(aggregator, faces([1]), view(1, age=np.nan, std=4, gender="", score=np.nan, quality=1.0), [0])
    assert (said["age"], said["age_std"], said["gender_score"]) == pytest.approx((30, 4, 0.9))
    assert said["gender"].tolist() == ["male"]
    said = report(aggregator, faces([1]), view(1, age=np.inf, std=4, gender="male", score=0.9, quality=1.0), [0])
    assert (said["age"], said["age_std"]) == pytest.approx((30, 4))


def last(*said):
    """The column of type `last` after each of these frames, in which all is known."""
    aggregator = TrackAggregator((Column(name="badge"),))
    for values in said:
        views = faces(range(1, len(values) + 1)).with_attributes(badge=values)
        known = report(aggregator, views.without_attributes("badge"), views, range(len(values)))
    return known["badge"]


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ([np.array([True, False])], np.array([True, False])),
        ([np.array([2**53 + 1])], np.array([2**53 + 1])),
        ([np.array([5], np.uint8), np.array([300])], np.array([300])),
        ([np.array([1.5], np.float16), np.array([70000.12])], np.array([70000.12])),
        ([np.array([1]), np.array([0.5])], np.array([0.5])),
    ],
    ids=["yes or no", "a large whole number", "a wider one", "a wider float", "a float after a whole number"],
)
def test_the_last_value_is_of_the_type_that_was_given(said, wanted):
    known = last(*said)
    assert known.dtype == wanted.dtype
    assert known.tolist() == wanted.tolist()


def test_words_after_numbers_are_refused():
    with pytest.raises(ValueError, match="gave column 'badge' values of type <U2 after int64, wanted words or numbers, not both"):
        last(np.array([12]), np.array(["no"]))


MOMENTS = (Column(name="m", aggregate="mean"), Column(name="s", aggregate="std", of="m"))


def test_the_deviation_of_large_numbers_is_not_rounded_away():
    aggregator = TrackAggregator(MOMENTS)
    for i in range(5):
        said = report(aggregator, faces([1]), faces([1]).with_attributes(m=[1.7e9 + i], s=[0.1]), [0])
    assert said["m"].tolist() == [1.7e9 + 2]
    assert said["s"] == pytest.approx([(2 + 0.1**2) ** 0.5])


@pytest.mark.parametrize(("given", "wanted"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("?", "f4")])
def test_means_are_as_exact_as_what_was_given(given, wanted):
    views = faces([1]).with_attributes(m=np.array([1], given), s=np.array([0], given))
    said = report(TrackAggregator(MOMENTS), faces([1]), views, [0])
    assert (said["m"].dtype, said["s"].dtype) == (wanted, wanted)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"aggregate": "median"}, "aggregate is one of mean, std, vote, probability, last, got 'median'"),
        ({"aggregate": "std"}, "'std' needs of=…, the name of the column that it belongs to"),
        ({"aggregate": "probability"}, "'probability' needs of=…, the name of the column that it belongs to"),
        ({"aggregate": "vote", "categories": "xyz"}, "categories must be a tuple of words, got 'xyz'"),
        ({"aggregate": "vote"}, r"'vote' needs categories=…, such as \('yes', 'no'\), got \(\)"),
    ],
    ids=["unknown", "std", "probability", "words", "vote"],
)
def test_a_column_that_lacks_what_its_aggregate_needs_is_refused(column, message):
    with pytest.raises(ValueError, match=f"^column 'c': {message}$"):
        Column(name="c", **column)


@pytest.mark.parametrize("name", ["", 3])
def test_a_column_without_a_name_is_refused(name):
    with pytest.raises(ValueError, match=f"a column's name must be a word, got {name!r}"):
        Column(name=name)
