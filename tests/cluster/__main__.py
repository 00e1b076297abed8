"""`python -m tests.cluster`: a node to work with by hand, until Ctrl-C. See `scripts/test-cluster up`."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import click
from tests.cluster.image.build import NAME, Builder, image_cache
from tests.cluster.machine import NodeError
from tests.cluster.node import Node


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="Keys, configuration and logs; temporary by default.")
@click.option("--image/--no-image", default=True, help=f"Build {NAME} and load it (default: yes).")
@click.option(
    "--load", "tars", multiple=True, type=click.Path(exists=True, path_type=Path), help="Load this image's tar file."
)
def main(folder: Path | None, tars: tuple[Path, ...], *, image: bool) -> None:
    """Run a Kubernetes cluster of one node until Ctrl-C."""
    # A kill is as good as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="vedette-node-") as temporary:
            _run(folder or Path(temporary), list(tars), image=image)
    except NodeError as error:
        _say(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _say("removed")


def _run(folder: Path, images: list[Path], *, image: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if image:
        images.append(Builder(image_cache(), _say).build(folder / "vedette.tar"))
    with Node(folder, images) as node:
        _say(f"ready after {node.figures['images']:.0f} s; pods reach this machine at {node.machine}")
        click.echo(f"export KUBECONFIG={node.kubeconfig} PATH={node.layout.tools}:$PATH")
        sys.stdout.flush()
        signal.pause()


def _say(line: str) -> None:
    click.echo(f"cluster: {line}", err=True)


if __name__ == "__main__":
    main()
