"""`python -m tests.cluster.image OUT.tar`: write Vedette's image without a container engine. See `scripts/image`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
from tests.cluster.image.base import ImageError
from tests.cluster.image.build import NAME, Builder, image_cache


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--fresh", is_flag=True, help="Take Debian's packages of today, not those of the cache.")
def main(out: Path, *, fresh: bool) -> None:
    """Write the image of the working tree to OUT, a tar file as `ctr images import` and `docker load` take it."""
    began = time.monotonic()
    try:
        Builder(image_cache(), lambda line: click.echo(f"image: {line}", err=True)).build(out, fresh=fresh)
    except (ImageError, subprocess.CalledProcessError) as error:
        click.echo(f"image: {error}", err=True)
        sys.exit(1)
    size = out.stat().st_size / 1e6
    click.echo(f"image: {NAME} in {out}, {size:.0f} MB, {time.monotonic() - began:.1f} s", err=True)


if __name__ == "__main__":
    main()
