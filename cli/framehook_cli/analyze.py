"""`framehook analyze`: recordings in, files out."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from framehook import (
    FramehookError,
    OptionError,
    Pipeline,
    Plugins,
    SourceSpec,
    StreamStatistics,
    UsageError,
    parse_spec,
    read_config,
)
from framehook_cli.outputs import check_writable, counted, meter, verbosity
from framehook_cli.resuming import left_over

_DEFAULT_SINKS = ("csv", "jsonl")
_FPS_HELP = (
    "Analyse at most F frames a second of the stream's time. Frames more than 1.5 s apart need a tracker that waits longer, "
    "such as --tracker iou:gap_seconds=5."
)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: framehook-results]")
@click.option("--detector", metavar="NAME[:OPTIONS]", help="What finds faces.  [default: mtcnn]")
@click.option("--tracker", metavar="NAME[:OPTIONS]", help="What follows them; none: nothing.  [default: iou]")
@click.option(
    "--classifier", "classifiers", multiple=True, metavar="NAME[:OPTIONS]", help="Repeatable, or none.  [default: age-gender]"
)
@click.option("--sink", "sinks", multiple=True, metavar="NAME[:OPTIONS]", help="Repeatable.  [default: csv, jsonl]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where the networks run.  [default: auto]")
@click.option("--start", type=float, metavar="SECONDS", help="Pass over what comes before.")
@click.option("--end", type=float, metavar="SECONDS", help="Stop there.")
@click.option("--every", type=int, metavar="N", help="Analyse every N-th frame; of frames far apart see --fps.")
@click.option("--fps", type=float, metavar="F", help=_FPS_HELP)
@click.option("--detect-every", type=int, metavar="N", help="Detect on every N-th of these, and follow in between.")
@click.option("--reconnect", type=float, metavar="SECONDS", help="Open a camera that is lost again, every so often.")
@click.option("--annotate", is_flag=True, help="Also write the video with what was found drawn in.")
@click.option("--resume", is_flag=True, help="Pass over the sources whose results in --out are complete.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE.toml", help="Settings; the command line wins.")
@verbosity
@click.pass_obj
def analyze(
    installed: Plugins,
    /,
    sources: tuple[str, ...],
    config: Path | None,
    annotate: bool,
    resume: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Analyse recordings, streams or cameras.

    SOURCE is a video or image file, a folder or glob of these, an address such as rtsp://…, or a camera's number. The results lie
    in a folder for each source: detections.csv and detections.jsonl, or what --sink names in their place, tracks.csv and
    summary.json.
    """
    configured = read_config(config) if config else {}
    given = {name: value for name, value in settings.items() if value not in (None, ())}
    merged = {"out": Path("framehook-results"), **configured, **given}
    merged["sinks"] = _sinks(merged.get("sinks", _DEFAULT_SINKS), annotate=annotate)
    pipeline = Pipeline(**merged, plugins=installed)
    out = Path(pipeline.settings["out"])  # the home folder is expanded
    specs = pipeline.open_sources(list(sources))
    check_writable(out)
    left = specs
    if resume:
        if any(name == "summary" and "path" in options for name, options in map(_named, merged["sinks"])):
            raise UsageError("--resume goes by {stream}/summary.json: leave out the path of the sink 'summary'")
        paths = [_named(sink)[1].get("path", "{stream}") for sink in merged["sinks"]]
        shared = [path for path in paths if "{stream}" not in path]
        left = left_over(specs, out=out, settings=pipeline.settings, shared_files=shared)
    if not quiet and len(left) < len(specs):
        click.echo(f"{len(specs) - len(left)} of {len(specs)} sources are complete already", err=True)
    if left:
        return _run(pipeline, left, out, quiet=quiet, as_json=as_json)
    if as_json:
        click.echo("[]")
    return 0


def _run(pipeline: Pipeline, specs: list[SourceSpec], out: Path, *, quiet: bool, as_json: bool) -> int:
    failure: FramehookError | None = None
    run = pipeline.run(specs)
    start, end = pipeline.settings["start"], pipeline.settings["end"]
    try:
        with run, meter(quiet=quiet, start=start, end=end) as show:
            for result in run:
                show(result)
    except FramehookError as error:
        failure = error
    except KeyboardInterrupt:
        if any(one.processed for one in run.statistics.values()):
            click.echo(f"framehook: what was analysed until now is in {out}", err=True)
        raise
    finished = list(run.statistics.values())
    if as_json:
        click.echo(json.dumps([_in_words(one, out) for one in finished], indent=2))
    elif not quiet:
        for one in finished:
            _tell(one, out)
    if failure is not None:
        _tell_failures(finished, failure)
        return 1
    return 0


def _sinks(sinks: object, *, annotate: bool) -> list[Any]:
    """Add the sinks that every analysis has; the summary comes last, since it says that the others are whole."""
    if not isinstance(sinks, (list, tuple)):
        raise OptionError(f'sinks must be a list, such as ["csv", "jsonl"], got {sinks!r}')
    names = [_named(sink)[0] for sink in sinks]
    added = ["tracks", *(["video"] if annotate else []), "summary"]
    return [*sinks, *(name for name in added if name not in names)]


def _named(sink: object) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the options of a sink that is named in the configuration or on the command line."""
    if isinstance(sink, (str, Mapping)):
        return parse_spec(sink)
    raise OptionError(f'a sink must be text, such as "csv", or a table with its name, got {sink!r}')


def _tell(statistics: StreamStatistics, out: Path) -> None:
    """Print what came of one stream."""
    name = statistics.stream
    if statistics.processed:
        rate = statistics.processed / statistics.seconds if statistics.seconds else 0.0
        click.echo(
            f"{name}: {counted(statistics.processed, 'frame')} at {rate:.1f} frames/s, "
            f"{counted(statistics.detections, 'detection')}, {counted(statistics.tracks, 'track')}"
            f"{'' if statistics.error else f' -> {out / name}'}"
        )
    for warning in statistics.warnings:
        click.echo(f"{name}: {warning}", err=True)


def _tell_failures(finished: list[StreamStatistics], failure: FramehookError) -> None:
    """Print one line for each thing that failed."""
    errors = list(dict.fromkeys(one.error for one in finished if one.error))
    if not any(error in str(failure) for error in errors):  # else it is one of them, or names them all
        errors.append(str(failure))
    for error in errors:
        click.echo(f"framehook: {error}", err=True)


def _in_words(statistics: StreamStatistics, out: Path) -> dict[str, Any]:
    return {**asdict(statistics), "folder": str(out / statistics.stream)}
