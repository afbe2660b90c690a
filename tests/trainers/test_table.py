import pytest

from framehook import SourceError, UsageError
from framehook_trainers.datasets.formats import read_samples


def read(tmp_path, *lines, encoding="utf-8"):
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    return read_samples("table", str(tmp_path / "people.csv"))


def test_ages_and_genders_come_from_the_columns(tmp_path):
    reading = read(tmp_path, "path,age,gender,race", "a.jpg,31,female,X", "sub/b.jpg,7.5,M,", "c.jpg,,f,", "d.jpg,40,,")

    assert [sample.dataset for sample in reading.samples] == ["people"] * 4
    assert [sample.label for sample in reading.samples] == [(31, 31, True), (7, 7, False), (None, None, True), (40, 40, None)]
    assert [sample.race for sample in reading.samples] == ["X", "", "", ""]


def test_brackets_of_ages_have_two_columns(tmp_path):
    reading = read(tmp_path, "path,age_low,age_high", "a.jpg,20,29")

    assert reading.samples[0].label == (20, 29, None)


def test_paths_are_relative_to_the_table(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.jpg").write_bytes(b"b")

    assert read(tmp_path, "path,age", "sub/b.jpg,5").samples[0].read() == b"b"


def test_what_a_spreadsheet_writes_is_read(tmp_path):
    reading = read(tmp_path, "Path, Age ,Gender", '"a, b.jpg", 31 ,Female', "", encoding="utf-8-sig")

    assert [(sample.name, sample.label) for sample in reading.samples] == [("a, b.jpg", (31, 31, True))]


def test_scores_are_facts_for_the_policies(tmp_path):
    assert read(tmp_path, "path,age,face_score", "a.jpg,5,2.5").samples[0].facts == {"face_score": 2.5}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("a.jpg,old,f,,", "age 'old' is no number"),
        ("a.jpg,nan,f,,", "age 'nan' is no number"),
        ("a.jpg,30,1,,", "gender '1' is none of female, f, male, m"),
        ("a.jpg,,f,20,", "age_low '20' and age_high '' are no bracket"),
        ("a.jpg,,f,30,20", "age_low '30' and age_high '20' are no bracket"),
        (",30,f,,", "the path is empty"),
    ],
    ids=["no number", "not a number", "a code that means different things", "half a bracket", "a bracket upside down", "no path"],
)
def test_a_malformed_row_is_counted_and_told_with_file_and_line(tmp_path, row, what):
    reading = read(tmp_path, "path,age,gender,age_low,age_high", "b.jpg,5,m,,", row)

    assert [sample.name for sample in reading.samples] == ["b.jpg"]
    assert reading.counts == {"malformed row": 1}
    assert reading.drops.firsts["malformed row"] == f"people.csv, line 3: {what}"


def test_a_quote_that_is_never_closed_does_not_swallow_the_rows_after_it(tmp_path):
    with pytest.raises(SourceError, match=r"people\.csv', line 4, is no row of a csv file: unexpected end of data"):
        read(tmp_path, "path,age", "a.jpg,5", '"b.jpg,6', "c.jpg,7")


@pytest.mark.parametrize("name", ["fairface.csv", "utkface.csv", "imdb.csv", "wiki"])
def test_a_table_cannot_pass_for_a_published_set(tmp_path, name):
    (tmp_path / name).write_text("path,age\na.jpg,5\n")
    with pytest.raises(
        UsageError, match=r"would be taken for the published set '.*', which has terms of its own: rename the file"
    ):
        read_samples("table", str(tmp_path / name))


def test_a_table_without_a_suffix_is_a_set_of_its_name(tmp_path):
    (tmp_path / "people").write_text("path,age\na.jpg,5\n")
    assert read_samples("table", str(tmp_path / "people")).samples[0].dataset == "people"


def test_a_row_that_is_cut_short_has_no_label(tmp_path):
    reading = read(tmp_path, "path,age,gender", "a.jpg")

    assert reading.drops.firsts == {"without a label": "people.csv, line 2"}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("paht,age", r"people\.csv' lacks the column 'path'; did you mean 'paht'\? \(it has: paht, age\)"),
        ("path,sex", r"people\.csv' lacks a column of labels: it needs age or age_low or gender \(it has: path, sex\)"),
        ("", r"people\.csv' lacks the column 'path' \(its first line is empty\)"),
    ],
    ids=["path", "labels", "all"],
)
def test_a_missing_column_is_told(tmp_path, header, message):
    with pytest.raises(UsageError, match=message):
        read(tmp_path, header, "a.jpg,5")


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("path;age", "a.jpg;5", r"people\.csv' separates its columns by ';', and not by commas: save it with commas"),
        ("path\tage", "a.jpg\t5", r"people\.csv' separates its columns by '\\t'"),
        ("path,Age,age", "a.jpg,5,6", r"people\.csv' has a column twice: leave one of them out \(it has: path, age, age\)"),
        (
            "path,gender,age",
            "a.jpg,m,25,5",
            r"people\.csv', line 2, has 4 cells for 3 columns: put a cell with a comma",
        ),
    ],
    ids=["semicolons", "tabs", "a column twice", "a decimal comma"],
)
def test_a_table_that_is_written_in_another_way_is_told(tmp_path, header, row, message):
    with pytest.raises((SourceError, UsageError), match=message):
        read(tmp_path, header, row)


def test_empty_cells_at_the_end_of_a_row_are_no_columns(tmp_path):
    for header in ("path,age", "path,age,,"):
        assert [sample.age_low for sample in read(tmp_path, header, "a.jpg,5,,,").samples] == [5]


def test_a_number_is_not_written_as_python_may_write_it(tmp_path):
    assert read(tmp_path, "path,age", "a.jpg,3_0").drops.firsts == {"malformed row": "people.csv, line 2: age '3_0' is no number"}


def test_a_table_that_is_no_text_is_told(tmp_path):
    (tmp_path / "people.csv").write_bytes(b"path,age\n\xff\xfe,5\n")

    with pytest.raises(SourceError, match=r"people\.csv' is no text in UTF-8"):
        read_samples("table", str(tmp_path / "people.csv"))
