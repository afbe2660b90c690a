"""`framehook demo`: a clip made of a public-domain photograph, and what framehook finds in it."""

import math
from fractions import Fraction
from pathlib import Path

import click

from framehook import FrameResult, Image, Pipeline, Plugins, VideoSource, VideoWriter, expand_home
from framehook_cli.outputs import begun, check_writable, counted, meter, quiet_option, verbose_option

_SIZE = (640, 480)
_RATE = 25
_SECONDS = 4


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("framehook-demo"), show_default=True, help="Folder.")
@quiet_option
@verbose_option
@click.pass_obj
def demo(installed: Plugins, out: Path, quiet: bool) -> None:
    """Analyse a short clip made of a photograph.

    A virtual camera moves over the portrait of Grace Hopper, in the public domain, that comes with matplotlib: nothing is
    downloaded.
    """
    out = expand_home(out)
    check_writable(out)
    clip = out / "grace-hopper.mp4"
    check_writable(clip, kind="file")
    pipeline = Pipeline(sinks=["csv", "jsonl", "tracks", "video", "summary"], out=out, plugins=installed)
    last: FrameResult | None = None
    folder = out / clip.stem
    with begun():
        make_clip(clip)
        with pipeline.run(clip) as run, meter(quiet=quiet) as show:
            for result in run:
                show(result)
                last = result if len(result.detections) else last
        picture = _save_picture(last, folder / "annotated.png") if last is not None else None
    if quiet:
        return
    statistics = run.statistics[clip.stem]
    click.echo(f"{clip}: {counted(statistics.processed, 'frame')}, {counted(statistics.tracks, 'track')}")
    for face in last.detections if last is not None else ():
        said = face.attributes
        click.echo(
            f"  face {face.track}: looks {said['age']:.0f} ± {said['age_std']:.0f} years old, "
            f"{said['gender']} ({said['gender_score']:.0%})"
        )
    click.echo(f"results: {', '.join(sorted(path.name for path in folder.iterdir()))} in {folder}")
    click.echo(f"look at: {picture or folder}")


def make_clip(path: Path) -> Path:
    """Write a clip of a few seconds in which a virtual camera pans and zooms over the portrait."""
    from matplotlib import get_data_path

    from framehook_plugins.sinks.files import output_errors

    photograph = next(iter(VideoSource(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg", name="photograph"))).image
    with output_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    width, height = _SIZE
    with VideoWriter(path, width=width, height=height, rate=Fraction(_RATE), time_base=Fraction(1, _RATE)) as writer:
        for i in range(_RATE * _SECONDS):
            writer.write(_camera(photograph, i / (_RATE * _SECONDS)), pts=i)
    return path


def _camera(photograph: Image, progress: float) -> Image:
    """Return what the virtual camera sees after this share of its way: a slow circle, while it moves closer."""
    import cv2
    import numpy as np

    width, height = _SIZE
    rows, columns = photograph.shape[:2]
    zoom = width / columns * (1.0 + 0.35 * progress)
    angle = 2 * math.pi * progress
    centre_x = columns * (0.5 + 0.06 * math.sin(angle))
    centre_y = rows * (0.38 + 0.04 * math.cos(angle))
    matrix = np.array([[zoom, 0, width / 2 - zoom * centre_x], [0, zoom, height / 2 - zoom * centre_y]])
    return np.asarray(
        cv2.warpAffine(photograph, matrix, _SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _save_picture(result: FrameResult, path: Path) -> Path:
    from framehook_plugins.sinks.annotate import draw
    from framehook_plugins.sinks.video import write_picture

    write_picture(path, draw(result.frame.image, result.detections))
    return path
