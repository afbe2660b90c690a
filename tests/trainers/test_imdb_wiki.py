from datetime import date
from math import inf, nan

import pytest

from framehook import SourceError, UsageError
from framehook_trainers.datasets.formats import read_samples
from framehook_trainers.datasets.imdb_wiki import age_at_mid_year


def matlab_day(*day):
    """Matlab's datenum."""
    return date(*day).toordinal() + 366


ENTRIES = {
    "dob": [matlab_day(1980, 3, 1), matlab_day(1990, 9, 1), matlab_day(1950, 1, 1), nan],
    "photo_taken": [2010, 2010, 2000, 2001],
    "full_path": ["00/a.jpg", "01/b.jpg", "02/c.jpg", "03/d.jpg"],
    "gender": [1, 0, nan, nan],
    "face_score": [2.5, -inf, 4, 1],
    "second_face_score": [nan, 1.5, nan, nan],
}


@pytest.mark.parametrize("struct", ["wiki", "imdb"])
def test_ages_genders_and_scores_are_read(tmp_path, write_mat, struct):
    write_mat(tmp_path / f"{struct}.mat", struct, **ENTRIES)

    reading = read_samples("imdb-wiki", str(tmp_path / f"{struct}.mat"))

    assert [sample.dataset for sample in reading.samples] == [struct] * 3
    assert [sample.age_low for sample in reading.samples] == [30, 19, 50]
    assert [sample.female for sample in reading.samples] == [False, True, None]
    assert [sample.facts["face_score"] for sample in reading.samples] == [2.5, -inf, 4]
    assert reading.samples[1].facts["second_face_score"] == 1.5
    assert reading.counts == {"without a label": 1}
    assert reading.drops.firsts["without a label"] == f"{struct}.mat, entry 4: 03/d.jpg"


def test_pictures_lie_beside_the_metadata_and_are_read_when_asked_for(tmp_path, write_mat):
    write_mat(tmp_path / "wiki.mat", "wiki", **ENTRIES)
    samples = read_samples("imdb-wiki", str(tmp_path)).samples
    (tmp_path / "01").mkdir()
    (tmp_path / "01" / "b.jpg").write_bytes(b"a picture")

    assert samples[1].read() == b"a picture"


def test_a_set_of_one_entry_is_read(tmp_path, write_mat):
    write_mat(tmp_path / "wiki.mat", "wiki", **{name: values[:1] for name, values in ENTRIES.items()})

    assert [sample.name for sample in read_samples("imdb-wiki", str(tmp_path)).samples] == ["00/a.jpg"]


@pytest.mark.parametrize(
    ("born", "age"),
    [((1980, 6, 30), 30), ((1980, 7, 2), 29), ((1980, 1, 1), 30), ((1980, 12, 31), 29), ((2020, 1, 1), -10)],
    ids=["just before mid-year", "just after", "in January", "in December", "after the photograph"],
)
def test_the_age_is_that_in_the_middle_of_the_year(born, age):
    assert age_at_mid_year(matlab_day(*born), 2010) == age


def test_a_birth_in_the_year_0_gives_an_age_that_no_policy_keeps():
    assert age_at_mid_year(47, 2010) > 120


@pytest.mark.parametrize("field", ENTRIES)
def test_a_missing_field_is_named(tmp_path, write_mat, field):
    write_mat(tmp_path / "wiki.mat", "wiki", **{name: values for name, values in ENTRIES.items() if name != field})

    with pytest.raises(UsageError, match=f"wiki.mat' lacks the field '{field}' in 'wiki'"):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))


def test_a_struct_of_another_name_is_told(tmp_path, write_mat):
    write_mat(tmp_path / "wiki.mat", "faces", **ENTRIES)

    with pytest.raises(UsageError, match="lacks the struct 'imdb' or 'wiki'"):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))


def test_two_structs_in_one_file_are_told(tmp_path, write_mat):
    from scipy.io import loadmat, savemat

    for struct in ("wiki", "imdb"):
        write_mat(tmp_path / f"{struct}.mat", struct, **ENTRIES)
    both = {name: loadmat(tmp_path / f"{name}.mat")[name] for name in ("wiki", "imdb")}
    savemat(tmp_path / "wiki.mat", both)

    with pytest.raises(UsageError, match=r"wiki\.mat' has the structs imdb and wiki, want one: save each in a file of its own"):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))


def test_fields_of_different_lengths_are_told(tmp_path, write_mat):
    write_mat(tmp_path / "wiki.mat", "wiki", **{**ENTRIES, "dob": [700_000.0, 700_001.0]})

    with pytest.raises(UsageError, match=r"fields of different lengths in 'wiki': \{'dob': 2, 'photo_taken': 4"):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))


@pytest.mark.parametrize(
    ("field", "values", "kind"),
    [
        ("dob", ["one", "two"], "numbers"),
        ("gender", [[0, 1], [1, 0]], "numbers"),
        ("full_path", [["a", "b"], ["c", "d"]], "paths"),
    ],
)
def test_a_field_of_other_values_is_told(tmp_path, write_mat, field, values, kind):
    write_mat(tmp_path / "wiki.mat", "wiki", **{**{name: all_of[:2] for name, all_of in ENTRIES.items()}, field: values})

    with pytest.raises(UsageError, match=rf"wiki\.mat' has no list of {kind} in the field '{field}': "):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))


def test_a_file_that_is_no_mat_is_told(tmp_path):
    (tmp_path / "wiki.mat").write_bytes(b"no matrix" * 100)

    with pytest.raises(SourceError, match=r"wiki\.mat' cannot be read as a Matlab file"):
        read_samples("imdb-wiki", str(tmp_path / "wiki.mat"))
