"""`framehook doctor`: versions, devices, codecs, plugins, and what is wrong with them."""

import json
import os
import platform
import re
from importlib import metadata
from typing import Any

import click

from framehook import FramehookError, Plugins
from framehook_cli.outputs import json_option, verbose_option
from framehook_cli.plugins import describe


@click.command()
@json_option
@verbose_option
@click.pass_obj
def doctor(installed: Plugins, as_json: bool) -> int:
    """Say what this machine has, and what is wrong with it. Exit status 1 where something is."""
    findings = examine(installed)
    if as_json:
        click.echo(json.dumps(findings, indent=2))
    else:
        _print(findings)
    return 1 if findings["problems"] else 0


def examine(installed: Plugins) -> dict[str, Any]:
    """Return versions, devices, codecs and plugins, and under `problems` one line for each thing that is wrong."""
    problems = [f"plugin '{b.entry_point}' of {b.distribution} is broken: {b.reason}" for b in installed.broken]
    versions = {"python": platform.python_version()}
    needed, optional = _requirements()
    for package in ("framehook", *needed):
        versions[package] = _version(package) or "missing"
        if versions[package] == "missing":
            problems.append(f"package '{package}' is missing: pip install {package}")
    extras = {package: _version(package) or f"not installed: pip install 'framehook[{e}]'" for package, e in optional.items()}
    return {
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "versions": versions,
        "extras": extras,
        "devices": _devices(problems),
        "codecs": _codecs(problems),
        **describe(installed),
        "default_stages": _default_stages(installed, problems),
        "problems": problems,
    }


def _requirements() -> tuple[list[str], dict[str, str]]:
    """Return the packages that framehook needs, and those that may be missing, each with an extra that brings it."""
    needed: list[str] = []
    optional: dict[str, str] = {}
    try:
        requirements = metadata.requires("framehook") or []
    except metadata.PackageNotFoundError:  # copied into another program, without its metadata
        requirements = []
    for requirement in requirements:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        if extra := re.search(r"extra == ['\"]([\w-]+)", requirement):
            optional.setdefault(name, extra[1])
        else:
            needed.append(name)
    return sorted(needed), optional


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices(problems: list[str]) -> dict[str, str]:
    try:
        import torch
    except Exception as error:  # a torch that does not import is just what a doctor is called for
        problems.append(f"torch does not import: {type(error).__name__}: {error}")
        return {}
    devices = {"cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"}
    for i in range(torch.cuda.device_count()):
        devices[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    return devices


def _codecs(problems: list[str]) -> dict[str, bool]:
    from framehook.video import codecs

    found = dict(codecs())
    problems.extend(f"libav lacks {codec}: reinstall av" for codec, there in found.items() if not there)
    return found


def _default_stages(installed: Plugins, problems: list[str]) -> dict[str, str]:
    """Make each stage that `analyze` uses by default."""
    state = {}
    for kind, name in (("detector", "mtcnn"), ("tracker", "iou"), ("classifier", "age-gender")):
        try:
            installed.maker(kind, name)()  # type: ignore[arg-type]  # a tuple of literals widens to str
            state[name] = "works"
        except FramehookError as error:
            state[name] = str(error)
            problems.append(f"{kind} '{name}': {error}")
    return state


def _print(findings: dict[str, Any]) -> None:
    for section in ("machine", "versions", "extras", "devices", "codecs", "default_stages"):
        click.echo(f"{section.replace('_', ' ')}:")
        for name, value in findings[section].items():
            click.echo(f"  {name}: {'yes' if value is True else 'no' if value is False else value}")
    click.echo("plugins:")
    for plugin in findings["plugins"]:
        click.echo(f"  {plugin['kind']} {plugin['name']}: {plugin['distribution']} {plugin['version']}")
    for problem in findings["problems"]:
        click.echo(f"problem: {problem}")
    number = len(findings["problems"])
    click.echo(f"{number} problem{'s' if number > 1 else ''}" if number else "all is well")
