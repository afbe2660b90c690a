import csv
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import pytest

from framehook import OutputError, RunError, SourceError, UsageError
from framehook_trainers import prepare as module
from framehook_trainers.datasets.faces import CropGeometry, read_faces
from framehook_trainers.datasets.parts import Workers
from framehook_trainers.datasets.quality import QualityLimits
from framehook_trainers.datasets.shards import SplitWriter
from framehook_trainers.datasets.splits import Shares
from framehook_trainers.prepare import Settings, prepare

SETTINGS = Settings(geometry=CropGeometry(size=64, stored_size=74), shares=Shares(test=0.2, validation=0.1))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of which these small sets have several."""
    monkeypatch.setattr(module, "PART", 16)


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def prepare_chips(chips, out, **more):
    return prepare([f"utkface:{chips}"], out=out, **{"settings": SETTINGS, **more})


@pytest.fixture(scope="module")
def prepared(chips, tmp_path_factory):
    """What an uninterrupted run leaves."""
    out = tmp_path_factory.mktemp("prepared") / "faces"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART", 16)
        prepare_chips(chips, out)
    return out


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(prepared, tmp_path / "faces"))


def test_the_folder_holds_splits_facts_and_a_report(prepared):
    names = {f"{split}/{name}" for split in ("train", "validation", "test") for name in ("faces-00000.npy", "labels.csv")}

    assert set(files(prepared)) == {*names, "faces.json", "report.html"}
    assert [path.name for path in prepared.parent.iterdir()] == ["faces"]
    sizes = {split: len(read_faces(prepared, split=split)) for split in ("train", "validation", "test")}
    assert sum(sizes.values()) == 48
    facts = json.loads((prepared / "faces.json").read_text())
    assert facts["counts"]["utkface"]["splits"] == sizes
    assert facts["settings"]["policies"] == ["strict"]
    assert facts["versions"].keys() == {"framehook", "numpy", "torch", "facenet-pytorch", "opencv"}


def test_each_crop_stands_beside_its_own_label(prepared, chips):
    for split in ("train", "test"):
        faces = read_faces(prepared, split=split)
        for name, age, crop in zip(faces.names, faces.ages[:, 0], faces.centres(np.arange(len(faces))), strict=True):
            original = cv2.cvtColor(cv2.imread(str(chips / name)), cv2.COLOR_BGR2RGB)
            assert int(name.partition("_")[0]) == age
            shrunk = cv2.resize(original[16:, 4:-4], (8, 8), interpolation=cv2.INTER_AREA).ravel()
            seen = cv2.resize(crop[8:], (8, 8), interpolation=cv2.INTER_AREA).ravel()
            assert np.corrcoef(shrunk, seen)[0, 1] > 0.5  # patterns of other seeds are not correlated


def test_two_processes_leave_the_same_bytes_as_one(prepared, chips, tmp_path):
    prepare_chips(chips, tmp_path / "faces", workers=2)

    assert files(tmp_path / "faces") == files(prepared)


class Stop:
    """Interrupts at the n-th sign of progress."""

    def __init__(self, at):
        self.left = at
        self.done = []

    def __call__(self, what, done, total):
        self.done.append((what, done))
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


# Three parts are examined, then cut; each stage first says how much of it is there.
@pytest.mark.parametrize("at", [1, 2, 6, 8], ids=["at the start", "after a part", "while cutting", "before the splits"])
def test_an_interrupted_run_goes_on_and_ends_as_an_uninterrupted_one(prepared, chips, tmp_path, at):
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, tmp_path / "faces", progress=Stop(at))
    assert [path.name for path in tmp_path.iterdir()] == ["faces.part"]
    steps = Stop(-1)

    prepare_chips(chips, tmp_path / "faces", resume=True, progress=steps)

    assert steps.done[0] == ("finding faces", min(16 * (at - 1), 48))
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    assert files(tmp_path / "faces") == files(prepared)


def test_a_run_that_was_interrupted_while_it_wrote_goes_on(prepared, chips, tmp_path, monkeypatch):
    def interrupt(*parts, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "render", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare_chips(chips, tmp_path / "faces")

    prepare_chips(chips, tmp_path / "faces", resume=True)

    assert files(tmp_path / "faces") == files(prepared)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")
def test_a_folder_that_is_ready_is_free_for_others(chips, tmp_path):
    import fcntl

    prepare_chips(chips, tmp_path / "faces")
    descriptor = os.open(tmp_path / "faces", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_a_run_goes_on_with_the_settings_that_it_began_with(chips, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, tmp_path / "faces", progress=Stop(2))

    with pytest.raises(UsageError, match=r"faces\.part' was prepared with seed 0, got 1: resume it with the same"):
        prepare_chips(chips, tmp_path / "faces", resume=True, settings=Settings(**{**fields(SETTINGS), "seed": 1}))


def fields(settings):
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff"], ids=["empty", "a list", "no text"])
def test_damaged_settings_are_told_with_what_to_do(chips, tmp_path, content):
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, tmp_path / "faces", progress=Stop(2))
    (tmp_path / "faces.part" / "work" / "settings.json").write_bytes(content)

    with pytest.raises(RunError, match=r"settings\.json' is damaged \(.+\): remove '.*faces\.part', and prepare anew"):
        prepare_chips(chips, tmp_path / "faces", resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_settings_are_there_as_a_whole_or_not_at_all(chips, tmp_path, monkeypatch):
    def fill(path, *parts, **more):
        mkdir(path, *parts, **more)
        if path.name == "work" and not any(path.iterdir()):
            (path / "settings.json.part").symlink_to("/dev/full")

    mkdir = Path.mkdir
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", fill)
        with pytest.raises(OutputError, match="No space left on device; free some space and go on with --resume"):
            prepare_chips(chips, tmp_path / "faces")

    assert prepare_chips(chips, tmp_path / "faces", resume=True).is_new


def test_a_run_goes_on_with_the_pictures_that_it_began_with(chips, tmp_path):
    changing = Path(shutil.copytree(chips, tmp_path / "chips"))
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(changing, tmp_path / "faces", progress=Stop(2))
    next(changing.iterdir()).unlink()

    with pytest.raises(UsageError, match=r"was prepared with pictures 48 with SHA-256 .*, got 47 with SHA-256"):
        prepare_chips(changing, tmp_path / "faces", resume=True)


def test_an_unfinished_run_is_not_thrown_away_unasked(chips, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, tmp_path / "faces", progress=Stop(2))

    with pytest.raises(UsageError, match=r"an unfinished preparation lies in '.*faces\.part': go on with --resume"):
        prepare_chips(chips, tmp_path / "faces")


def test_a_complete_run_is_left_as_it_is(copy, chips):
    before = files(copy)

    assert prepare_chips(chips, copy, resume=True).is_new is False
    with pytest.raises(UsageError, match=r"holds prepared faces: name another --out, or prepare them anew with --replace"):
        prepare_chips(chips, copy)
    with pytest.raises(UsageError, match=r"faces' was prepared with faces best, got one"):
        prepare_chips(chips, copy, resume=True, settings=Settings(**{**fields(SETTINGS), "faces": "one"}))
    assert files(copy) == before


def test_faces_are_replaced_when_the_new_ones_are_complete(copy, chips):
    before = files(copy)
    settings = Settings(**{**fields(SETTINGS), "seed": 1})
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, copy, settings=settings, replace=True, progress=Stop(6))
    assert files(copy) == before

    prepare_chips(chips, copy, settings=settings, resume=True)

    assert json.loads((copy / "faces.json").read_text())["settings"]["seed"] == 1
    assert [path.name for path in copy.parent.iterdir()] == ["faces"]


def test_a_kill_between_the_two_renames_loses_nothing(copy, chips):
    before = files(copy)
    copy.rename(copy.with_name(".faces.replaced"))

    assert prepare_chips(chips, copy, resume=True).is_new is False
    assert files(copy) == before


@pytest.mark.parametrize("name", ["faces", "faces.part"])
def test_a_folder_with_other_files_is_left_alone(chips, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").touch()

    with pytest.raises(UsageError, match=f"{name}' holds other files: name an --out that is empty or not there"):
        prepare_chips(chips, tmp_path / "faces", resume=True, replace=True)
    assert (tmp_path / name / "thesis.txt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_clear_line_and_leaves_the_old_faces(copy, chips):
    before = files(copy)
    with pytest.raises(KeyboardInterrupt):
        prepare_chips(chips, copy, replace=True, progress=Stop(2))
    (copy.with_name("faces.part") / "work" / "examined-000001.npz.part").symlink_to("/dev/full")

    message = r"cannot write '.*faces\.part': No space left on device; free some space and go on with --resume; the faces in .*"
    with pytest.raises(OutputError, match=message):
        prepare_chips(chips, copy, resume=True)
    assert files(copy) == before

    prepare_chips(chips, copy, resume=True)
    assert files(copy) == before  # the same pictures and settings


def test_a_disk_that_is_full_at_the_very_end_leaves_the_old_faces(copy, chips, monkeypatch):
    before = files(copy)

    def fail(self, crops):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SplitWriter, "append", fail)

    with pytest.raises(OutputError, match="No space left on device; free some space and go on with --resume"):
        prepare_chips(chips, copy, replace=True)
    assert files(copy) == before


def test_a_place_that_may_not_be_written_is_told(chips, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match=r"cannot write '.*file/faces\.part.*': Not a directory"):
        prepare_chips(chips, tmp_path / "file" / "faces")


def write_table(folder, *rows):
    (folder / "people.csv").write_text("\n".join(["path,age,gender", *rows]) + "\n")
    return f"table:{folder / 'people.csv'}"


def test_what_is_left_out_is_counted_with_the_first_file(tmp_path, picture):
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(picture(i, 64, ".png"))
    (tmp_path / "cut.jpg").write_bytes(picture(9, 64, ".jpg")[:-99])
    (tmp_path / "again.png").write_bytes(picture(0, 64, ".png"))
    rows = ["0.png,30,f", "again.png,30,f", "1.png,130,f", "2.png,-1,m", "3.png,x,m", "4.png,,", "gone.png,5,m", "cut.jpg,5,m"]

    result = prepare([write_table(tmp_path, *rows, "5.png,50,")], out=tmp_path / "faces", settings=SETTINGS)

    counts = result.counts["people"]
    assert (counts["read"], counts["kept"]) == (9, 2)
    assert {rule: (dropped["count"], dropped["first"]) for rule, dropped in counts["dropped"].items() if dropped["count"]} == {
        "malformed row": (1, "people.csv, line 6: age 'x' is no number"),
        "without a label": (1, "people.csv, line 7"),
        "age out of range": (2, "1.png"),
        "missing picture": (1, "gone.png"),
        "corrupt picture": (1, "cut.jpg"),
        "exact repeat": (1, "again.png"),
    }


def test_a_set_of_which_nothing_is_left_is_an_error_that_says_why(tmp_path):
    source = write_table(tmp_path, "gone.png,30,f", "1.png,130,f")

    with pytest.raises(UsageError, match=r"no picture is left of 2: .*missing picture: 1 \(first: gone\.png\)"):
        prepare([source], out=tmp_path / "faces")
    assert not (tmp_path / "faces").exists()


def test_files_that_two_sets_label_in_ways_that_exclude_each_other_are_left_out_of_both(tmp_path, picture):
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(picture(i, 64, ".png"))
    for name, rows in (("one", ["0.png,30,f", "1.png,30,f", "2.png,50,m"]), ("two", ["0.png,80,m", "1.png,30,", "3.png,5,f"])):
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,age,gender", *rows]) + "\n")

    result = prepare([f"table:{tmp_path / name}.csv" for name in ("one", "two")], out=tmp_path / "faces", settings=SETTINGS)

    for name in ("one", "two"):
        counts = result.counts[name]
        assert counts["dropped"]["same bytes, different labels"] == {"count": 1, "first": "0.png"}
        assert counts["dropped"]["exact repeat"]["count"] == 0
        assert counts["kept"] == 2
        assert any("leave none for the validation split: ask for a larger share" in note for note in counts["notes"])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_picture_that_cannot_be_read_for_another_reason_stops_the_run(tmp_path):
    (tmp_path / "circle.png").symlink_to("circle.png")

    with pytest.raises(SourceError, match=r"circle\.png' cannot be read: .*Too many levels of symbolic links"):
        prepare([write_table(tmp_path, "circle.png,30,f")], out=tmp_path / "faces")


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """Pictures with one face, two and none, and a small, blurred one."""
    folder = tmp_path_factory.mktemp("portraits")
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        face = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_COLOR)[30:330, 100:400]
    pictures = {
        "one": face,
        "two": np.hstack([face, face]),
        "none": np.full_like(face, 128),
        "small": cv2.resize(face, (75, 75), interpolation=cv2.INTER_AREA),
        "blurred": cv2.GaussianBlur(face, (0, 0), 4),
    }
    for name, pixels in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    write_table(folder, *(f"{name}.png,60,f" for name in pictures))
    return folder


@pytest.mark.parametrize(
    ("settings", "kept", "dropped"),
    [
        (Settings(), {"one", "two", "none", "small", "blurred"}, set()),
        (Settings(faces="one"), {"one", "small", "blurred"}, {"no face", "several faces"}),
        (Settings(limits=QualityLimits(min_score=0.5)), {"one", "two", "small", "blurred"}, {"score below 0.5"}),
        (
            Settings(faces="one", limits=QualityLimits(min_size=60)),
            {"one", "blurred"},
            {"no face", "several faces", "size below 60"},
        ),
        (
            Settings(faces="one", limits=QualityLimits(min_sharpness=100)),
            {"one", "small"},
            {"no face", "several faces", "sharpness below 100"},
        ),
    ],
    ids=["best", "one", "score", "size", "sharpness"],
)
def test_faces_are_chosen_and_judged(portraits, tmp_path, settings, kept, dropped):
    result = prepare([f"table:{portraits / 'people.csv'}"], out=tmp_path / "faces", settings=settings)

    names = []
    for split in ("train", "validation", "test"):
        with (tmp_path / "faces" / split / "labels.csv").open(newline="") as stream:
            names += [row["name"].removesuffix(".png") for row in csv.DictReader(stream)]
    assert set(names) == kept
    assert {rule for rule, one in result.counts["people"]["dropped"].items() if one["count"]} == dropped


def test_several_sets_are_prepared_together(tiny_data, tmp_path):
    sources = [f"{name}:{tiny_data}" for name in ("utkface", "fairface")]

    counts = prepare(sources, out=tmp_path / "faces", settings=Settings(geometry=CropGeometry(size=64, stored_size=74))).counts

    assert {name: one["kept"] for name, one in counts.items()} == {"utkface": 80, "fairface": 40}
    assert counts["fairface"]["splits"]["test"] == 10
    faces = read_faces(tmp_path / "faces", split="test")
    assert len(faces.rows(dataset="fairface")) == 10
    assert set(faces.races.tolist()) == {"White"}


def test_a_worker_that_is_killed_is_told():
    with Workers(2) as pool, pytest.raises(RunError, match="a worker process was killed, perhaps for want of memory"):
        list(pool.map(os._exit, [1]))


def test_the_report_shows_counts_histograms_and_faces(prepared):
    page = (prepared / "report.html").read_text()

    assert page.count("data:image/png;base64,") == 1
    assert page.count("<figure") == 48
    assert "exact repeat" in page
    assert "http" not in page  # nothing is fetched: it can be sent by mail
