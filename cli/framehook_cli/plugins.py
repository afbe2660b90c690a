"""`framehook plugins`: what is installed, what it takes, and what is broken."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from framehook import KINDS, Plugin, PluginNotFoundError, Plugins, did_you_mean, options_of
from framehook_cli.outputs import json_option, verbose_option

_WIDE = 1000


@click.group()
def plugins() -> None:
    """List the installed plugins, and show their options."""


@plugins.command("list")
@json_option
@verbose_option
@click.pass_obj
def list_plugins(installed: Plugins, as_json: bool) -> None:
    """List the installed plugins, and those that are broken, with the reason."""
    if as_json:
        click.echo(json.dumps(describe(installed), indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "name", "from"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what it does", no_wrap=not sys.stdout.isatty())
    for plugin in installed.offered:
        name = plugin.name if not _rivals(installed, plugin) else f"{plugin.distribution}/{plugin.name}"
        table.add_row(plugin.kind, name, f"{plugin.distribution} {plugin.version}", plugin.summary)
    console = Console(width=None if sys.stdout.isatty() else _WIDE)  # for grep, a plugin is a line
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())
    for broken in installed.broken:
        click.echo(f"broken: {broken.entry_point} from {broken.distribution}: {broken.reason}", err=True)


@plugins.command("show")
@click.argument("name")
@verbose_option
@click.pass_obj
def show_plugin(installed: Plugins, name: str) -> None:
    """Show what the plugins of that NAME take as options."""
    found = [plugin for plugin in installed.offered if name in (plugin.name, f"{plugin.distribution}/{plugin.name}")]
    if not found:
        names = sorted({plugin.name for plugin in installed.offered})
        raise PluginNotFoundError(f"no plugin is named '{name}'{did_you_mean(name, names)} (there are: {', '.join(names)})")
    for plugin in found:
        click.echo(f"{plugin.name}: {plugin.kind} from {plugin.distribution} {plugin.version}\n{plugin.summary}")
        for option in options_of(plugin.factory):
            click.echo(f"  {option.name}: {option.describe()}")
            if option.meaning:
                click.echo(f"      {option.meaning}")


def describe(installed: Plugins) -> dict[str, Any]:
    """Return the plugins in values that JSON can carry."""
    offered = [
        {
            "kind": plugin.kind,
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "summary": plugin.summary,
            "options": {option.name: option.describe() for option in options_of(plugin.factory)},
        }
        for plugin in sorted(installed.offered, key=lambda p: KINDS.index(p.kind))
    ]
    broken = [{"entry_point": b.entry_point, "distribution": b.distribution, "reason": b.reason} for b in installed.broken]
    return {"plugins": offered, "broken": broken}


def _rivals(installed: Plugins, plugin: Plugin) -> bool:
    """Say whether another distribution offers the same kind and name."""
    return sum((other.kind, other.name) == (plugin.kind, plugin.name) for other in installed.offered) > 1
