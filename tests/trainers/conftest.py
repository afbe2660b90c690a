"""Small sets in the published formats, with coloured patterns for faces."""

import io
import tarfile

import cv2
import numpy as np
import pytest


def make_picture(seed, side, extension):
    """A pattern unlike any other seed's, as an image file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 10, 3), np.uint8)
    return cv2.imencode(extension, cv2.resize(coarse, (side, side)))[1].tobytes()


@pytest.fixture(scope="session")
def picture():
    """Make a pattern unlike any other seed's, as an image file."""
    return make_picture


@pytest.fixture(scope="session")
def write_tar():
    """Write files, by name, into a tar archive."""
    return _write_tar


def _write_tar(path, files):
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="session")
def write_mat():
    """Write the metadata of IMDB-WIKI: a list of values for each field of a struct."""
    from scipy.io import savemat  # not above: most tests do without it

    def write(path, struct, **fields):
        texts = {name for name, column in fields.items() if name == "full_path" or isinstance(column[0], str)}
        values = {name: np.array(column, dtype=object if name in texts else float) for name, column in fields.items()}
        savemat(path, {struct: values})

    return write


@pytest.fixture(scope="session")
def chips(tmp_path_factory):
    """A folder with 48 small pictures in UTKFace's format, as files."""
    folder = tmp_path_factory.mktemp("chips")
    for i in range(48):
        (folder / f"{20 + i % 4 * 10}_{i % 2}_0_20170101{i:09d}.jpg.chip.jpg").write_bytes(make_picture(i, 64, ".jpg"))
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """A folder with 80 pictures in UTKFace's format, and 30 and 10 in FairFace's."""
    folder = tmp_path_factory.mktemp("data")
    chips = {f"{1 + i}_{i % 2}_0_20170101{i:09d}.jpg.chip.jpg": make_picture(i, 200, ".jpg") for i in range(80)}
    _write_tar(folder / "utkface-00.tar", chips)
    brackets = ["0-2", "20-29", "more than 70"]
    for part, count in (("train", 30), ("val", 10)):
        names = [f"{part}/{i}.webp" for i in range(1, count + 1)]
        _write_tar(
            folder / f"fairface_{part}-00.tar",
            {name: make_picture(1000 * count + i, 112, ".webp") for i, name in enumerate(names)},
        )
        rows = [f"{name},{brackets[i % 3]},{('Female', 'Male')[i % 2]},White,True" for i, name in enumerate(names)]
        (folder / f"fairface_label_{part}.csv").write_text("\n".join(["file,age,gender,race,service_test", *rows]) + "\n")
    return folder
