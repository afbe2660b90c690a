"""Small sets in the published formats, with coloured patterns for faces."""

import io
import tarfile

import cv2
import numpy as np
import pytest


def picture(seed, side, extension):
    """A pattern unlike any other seed's, as an image file."""
    coarse = np.random.default_rng(seed).integers(0, 256, (10, 10, 3), np.uint8)
    return cv2.imencode(extension, cv2.resize(coarse, (side, side)))[1].tobytes()


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
def tiny_data(tmp_path_factory):
    """A folder with 80 pictures in UTKFace's format, and 30 and 10 in FairFace's."""
    folder = tmp_path_factory.mktemp("data")
    chips = {f"{1 + i}_{i % 2}_0_20170101{i:09d}.jpg.chip.jpg": picture(i, 200, ".jpg") for i in range(80)}
    _write_tar(folder / "utkface-00.tar", chips)
    brackets = ["0-2", "20-29", "more than 70"]
    for part, count in (("train", 30), ("val", 10)):
        names = [f"{part}/{i}.webp" for i in range(1, count + 1)]
        _write_tar(
            folder / f"fairface_{part}-00.tar",
            {name: picture(1000 * count + i, 112, ".webp") for i, name in enumerate(names)},
        )
        rows = [f"{name},{brackets[i % 3]},{('Female', 'Male')[i % 2]},White,True" for i, name in enumerate(names)]
        (folder / f"fairface_label_{part}.csv").write_text("\n".join(["file,age,gender,race,service_test", *rows]) + "\n")
    return folder
