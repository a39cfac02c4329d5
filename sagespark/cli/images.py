"""``sagespark local images``: names for images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sagespark.core.errors import SageSparkError, ValidationError
from sagespark.local.containers.own_images import FILE_NAME, OwnImages

DATA_VARIABLE = "SAGESPARK_DATA"
"""Environment variable of the data folder."""

app = typer.Typer(help="Bind image names to programs of your own (bring your own container).", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", envvar=DATA_VARIABLE, help="Folder of all its state.", file_okay=False)]
Name = Annotated[str, typer.Argument(help="The image's name, with or without registry and tag.")]
DEFAULT_DATA = Path("~/.sagespark")
"""The data folder where none is named."""


def _images(data: Path) -> OwnImages:
    return OwnImages(data.expanduser().resolve() / FILE_NAME)


@app.command()
def add(
    name: Name,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder with executable files `train`, `serve` or both, in any language.")
    ] = None,
    docker: Annotated[
        str, typer.Option("--docker", help="Instead of a folder: an image that Docker has on this machine.")
    ] = "",
    data: Data = DEFAULT_DATA,
) -> None:
    """Bind NAME to a folder's programs; the service takes it up at once, also while it runs."""
    if (folder is None) == (not docker):
        raise ValidationError("give either FOLDER or --docker IMAGE", "images add")
    image = _images(data).add(name, folder=folder, docker=docker or None)
    typer.echo(f"{image.name} is {image.folder or 'the Docker image ' + str(image.docker)}", err=True)


@app.command(name="list")
def show(data: Data = DEFAULT_DATA) -> None:
    """List the names and what they stand for."""
    for image in _images(data).all():
        typer.echo(f"{image.name}\t{image.folder or 'docker ' + str(image.docker)}")


@app.command()
def remove(name: Name, data: Data = DEFAULT_DATA) -> None:
    """Unbind NAME; what it stands for stays as it is."""
    if not _images(data).remove(name):
        known = ", ".join(image.name for image in _images(data).all()) or "none"
        raise SageSparkError(f"there is no image {name!r}; the bound ones are: {known}")
    typer.echo(f"{name} is no longer bound", err=True)
