"""`python -m tests.cluster.tools`: build what is missing of the test cluster's programs, print their folder."""

from __future__ import annotations

import sys

import click
from tests.cluster.machine import missing_commands
from tests.cluster.tools.build import ToolsError, build_tools, tools_folder


@click.command()
@click.option("--if-usable", is_flag=True, help="Build nothing where no node could run anyway.")
def main(*, if_usable: bool) -> None:
    """Progress goes to standard error, the folder to standard output."""
    if if_usable and (lacking := missing_commands()):
        _say(f"not built, because no node can run here: {'; '.join(lacking)}")
        sys.exit(1)
    target = tools_folder()
    try:
        build_tools(target, _say)
    except ToolsError as error:
        _say(str(error))
        sys.exit(1)
    click.echo(str(target))


def _say(line: str) -> None:
    click.echo(f"cluster-tools: {line}", err=True)


if __name__ == "__main__":
    main()
