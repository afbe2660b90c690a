"""`framehook train`: run a recipe."""

from pathlib import Path
from typing import Literal

import click

from framehook import UsageError, check_options
from framehook_cli.outputs import verbose_option, work_meter


@click.command()
@click.argument("recipe")
@click.option("--faces", type=click.Path(path_type=Path), required=True, metavar="DIR", help="What `framehook prepare` wrote.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder of the run.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe (repeatable).")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--compile", "compiler", metavar="BACKEND", help="Use torch.compile with this backend, such as inductor.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
@click.option("--quiet", is_flag=True, help="No progress and no line an epoch: errors only.")
@verbose_option
def train(
    recipe: str,
    faces: Path,
    out: Path,
    settings: tuple[str, ...],
    device: Literal["auto", "cpu", "cuda"],
    compiler: str | None,
    resume: bool,
    quiet: bool,
) -> None:
    """Train a network on prepared faces.

    RECIPE is framehook (the one that ships), resnet34-transfer, separable-multi, twobranch-cnn, vgg16-ordinal or wrn-16-8. In
    --out come weights, metrics, plots and a model card. On several GPUs: torchrun --nproc-per-node N $(which framehook) train …
    """
    from framehook_plugins.device import resolve_device
    from framehook_trainers.distributed import join_world
    from framehook_trainers.recipes import load
    from framehook_trainers.runs import Run

    chosen = load(recipe)
    config = chosen.Config(**check_options(f"recipe '{recipe}'", chosen.Config, _read(settings)))
    with join_world(resolve_device(device)) as world, work_meter(quiet=quiet or not world.main) as show:
        run = Run(
            recipe=recipe,
            config=config,
            faces=faces,
            folder=out,
            world=world,
            resume=resume,
            compile=compiler,
            quiet=quiet,
            progress=show,
        )
        run.begin()
        chosen.train(config, run)


def _read(settings: tuple[str, ...]) -> dict[str, str]:
    """Return the settings by name, their values still as text.

    Raises:
        UsageError: one without `=`.
    """
    read = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set got '{setting}', want NAME=VALUE, such as epochs=5")
        read[name.strip()] = value.strip()
    return read
