"""Show that inference cuts the crop that training saw, and that it is a good one: `python benchmarks/crop_margin.py`.

First the geometry: how large, where and how tilted a face lies in the crop, by MTCNN's landmarks, on training chips and on video.
Then the sweep: the shipped weights on clips of people whose gender is plain, with other margins and shifts than the trained ones,
and cut about MTCNN's box instead of its landmarks.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import numpy as np
from numpy.typing import NDArray

from framehook import Detections, Frame, Image, VideoSource
from framehook_plugins.agegender.classifier import find_weights
from framehook_plugins.agegender.crop import cut, roll_of, squares
from framehook_plugins.agegender.inference import Estimator
from framehook_plugins.mtcnn.detector import MtcnnDetector
from framehook_trainers.datasets.detection import as_frame, decode
from framehook_trainers.datasets.formats import read_samples

PEOPLE = {
    "face-demographics-walking-and-pause.gif": ("female", "male", "female"),
    "face-demographics-walking.gif": ("female", "male"),
    "head-pose-face-detection-female-and-male.gif": ("female", "male"),
    "head-pose-face-detection-female.gif": ("female",),
    "sign-again-480p.mkv": ("male",),
    "sign-thanks-480p.mkv": ("male",),
    "wave.mp4": ("male",),
}
"""Who is to be seen in each clip, from left to right."""

MARGINS = (-0.5, -0.4, -0.3, -0.2, -0.15, -0.1, 0.0, 0.1, 0.2, 0.3)
SHIFTS = (-0.06, 0.0, 0.06, 0.12, 0.18, 0.24, 0.3)
FRAMES_PER_CLIP = 40
CHIPS = 400


@dataclass(frozen=True)
class View:
    """One face in one frame."""

    person: tuple[str, int]
    """Clip and place from the left."""
    gender: str
    """What is plain to see."""
    image: Image
    """The whole frame."""
    box: NDArray[np.float32]
    """(1, 4)."""
    landmarks: NDArray[np.float32]
    """(1, 5, 2)."""


def face_in_crop(found: list[Detections], *, margin: float, shift: float, by: str) -> dict[str, float]:
    """Return where the landmarks of clear faces lie in the crop, as medians in units of its side, and how tilted they are.

    `off_centre_95` is how far a face lies from where the median one does: 95 in 100 lie nearer.
    """
    clear = Detections.concatenate(list(found))
    clear = clear[clear.scores > 0.99]
    landmarks = clear.attributes["landmarks"]  # (n, 5, 2)
    centre = landmarks.mean(axis=1)
    radius = np.sqrt(((landmarks - centre[:, None]) ** 2).sum(axis=2).mean(axis=1))
    roll = roll_of(landmarks)
    x, y, side, angle = squares(clear.boxes, landmarks if by == "landmarks" else None, margin=margin, shift=shift).T
    right, down = (centre - np.stack([x, y], axis=1)).T / side
    across, along = right * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - right * np.sin(angle)
    off_centre = np.hypot(across - np.median(across), along - np.median(along))
    tilt = np.degrees(np.abs(roll - angle))
    return {
        "faces": len(clear),
        "landmark_radius": round(float(np.median(radius / side)), 4),
        "centre_x": round(float(np.median(across)), 4),
        "centre_y": round(float(np.median(along)), 4),
        "off_centre_95": round(float(np.percentile(off_centre, 95)), 4),
        "tilt_degrees_median": round(float(np.median(tilt)), 2),
        "tilt_degrees_95": round(float(np.percentile(tilt, 95)), 2),
    }


def detect(detector: MtcnnDetector, frames: list[Frame]) -> list[Detections]:
    """Return the faces of each frame."""
    return [faces for i in range(0, len(frames), 32) for faces in detector.detect(frames[i : i + 32])]


def clip_frames(path: Path) -> list[Frame]:
    """Return frames evenly spread over the clip."""
    frames = list(VideoSource(path, name=path.stem))
    return frames[:: max(1, len(frames) // FRAMES_PER_CLIP)]


def views(clip: str, frames: list[Frame], found: list[Detections]) -> Iterator[View]:
    """Yield the faces of the frames that show as many as the clip has people."""
    people = PEOPLE[clip]
    for frame, faces in zip(frames, found, strict=True):
        faces = faces[faces.scores > 0.9]
        if len(faces) == len(people):
            from_left = faces[np.argsort(faces.boxes[:, 0])]
            for place, gender in enumerate(people):
                face = from_left[place : place + 1]
                yield View((clip, place), gender, frame.image, face.boxes, face.attributes["landmarks"])


def measure(estimator: Estimator, seen: list[View], *, margin: float, shift: float, by: str) -> dict[str, Any]:
    """Return how well the weights do with this crop, each person counting alike."""
    crops = []
    for view in seen:
        where = squares(view.box, view.landmarks if by == "landmarks" else None, margin=margin, shift=shift)
        crops.append(cut(view.image, where, estimator.header.input_size))
    pixels = np.concatenate(crops)
    estimates = estimator.estimate(pixels, again=pixels[:, :, ::-1], twice=np.ones(len(pixels), bool))
    female = np.array([view.gender == "female" for view in seen])
    right = np.where(female, estimates.female, 1 - estimates.female)
    people = sorted({view.person for view in seen})
    rows = [np.array([view.person == person for view in seen]) for person in people]
    return {
        "margin": margin,
        "shift": shift,
        "by": by,
        "right_gender": round(float(np.mean([(right[some] > 0.5).mean() for some in rows])), 4),
        "mean_probability": round(float(np.mean([right[some].mean() for some in rows])), 4),
        "age_std_within_person": round(float(np.mean([estimates.age[some].std() for some in rows])), 3),
        "people": {
            f"{clip}:{place}": {
                "views": int(some.sum()),
                "right_gender": round(float((right[some] > 0.5).mean()), 4),
                "age": round(float(estimates.age[some].mean()), 2),
                "age_std": round(float(estimates.age[some].std()), 2),
            }
            for (clip, place), some in zip(people, rows, strict=True)
        },
    }


def main() -> None:
    """Measure, print the tables, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the folder with data/ and videos/")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/crop_margin.json"))
    options = parser.parse_args()

    estimator = Estimator(find_weights(options.weights), device="cpu", backend="auto", precision="auto", batch=64)
    trained = {"margin": estimator.header.crop_margin, "shift": estimator.header.crop_shift}

    chips_detector, video_detector = MtcnnDetector(min_face=40), MtcnnDetector()
    geometry = {}
    for name in ("utkface", "fairface"):
        samples = read_samples(name, str(options.shared / "data")).samples
        some = samples[:: len(samples) // CHIPS]
        chips = detect(chips_detector, [as_frame(decode(s.read())) for s in some])
        geometry |= {f"{name}, by {by}": face_in_crop(chips, by=by, **trained) for by in ("landmarks", "box")}
    seen: list[View] = []
    on_video: list[Detections] = []
    for clip in PEOPLE:
        frames = clip_frames(options.shared / "videos" / clip)
        found = detect(video_detector, frames)
        on_video += found
        seen += views(clip, frames, found)
    geometry |= {f"video, by {by}": face_in_crop(on_video, by=by, **trained) for by in ("landmarks", "box")}
    for name, values in geometry.items():
        print(name, values)

    settings = [(trained["margin"], trained["shift"], "box"), (trained["margin"], trained["shift"], "landmarks")]
    settings += [(margin, trained["shift"], "landmarks") for margin in MARGINS if margin != trained["margin"]]
    settings += [(trained["margin"], shift, "landmarks") for shift in SHIFTS if shift != trained["shift"]]
    sweep = [measure(estimator, seen, margin=margin, shift=shift, by=by) for margin, shift, by in settings]
    for row in sweep:
        print({name: value for name, value in row.items() if name != "people"})

    result = {"machine": machine.facts(), "trained": trained, "views": len(seen), "face_in_crop": geometry, "sweep": sweep}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
