from pathlib import Path

import pytest

from framehook import Pipeline, SourceNotFoundError, UsageError, expand_home, open_sources
from framehook.testing import FixedDetector, grey_image, synthetic_video


def test_a_home_folder_is_that_of_who_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert expand_home("~/a.mp4") == tmp_path / "a.mp4"
    assert expand_home(Path("a~/b")) == Path("a~/b")


def test_what_is_called_like_a_home_folder_is_itself(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    synthetic_video("~clip.mp4")
    assert [spec.name for spec in open_sources("~clip.mp4")] == ["~clip"]


def test_what_begins_at_no_home_is_not_looked_for(tmp_path):
    long = "x" * 5000
    assert expand_home(long) == Path(long)
    with pytest.raises(SourceNotFoundError, match="nothing opens addresses that begin with ~x://"):
        open_sources("~x://door")
    (spec,) = open_sources(f"https://user:secret@host/a.mp4?token={long}")
    assert spec.location == "https://host/a.mp4"


@pytest.mark.parametrize(
    "use",
    [
        open_sources,
        lambda path: Pipeline(detector=FixedDetector(), classifiers=[], out=path),
        lambda path: Pipeline(detector=FixedDetector(), classifiers=[], sinks=[f"csv:path={path}"]).run([grey_image(64, 48)]),
        lambda path: Pipeline(detector=FixedDetector(), classifiers=[f"age-gender:weights={path}"]),
        Pipeline.from_config,
    ],
    ids=["source", "out", "sink", "weights", "config"],
)
def test_a_home_that_nobody_has_is_told(use):
    with pytest.raises(UsageError, match="'~nobody-here/x': no home folder is known for '~nobody-here'; write the whole path"):
        use("~nobody-here/x")
