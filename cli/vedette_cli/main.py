"""The one `vedette` command."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

import click

# Name → module and attribute. Commands are imported when they are called: `vedette --help` must not load pySigma.
_COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "up": ("vedette_cli.up", "up"),
    "demo": ("vedette_cli.demo", "demo"),
    "get": ("vedette_cli.get", "get"),
    "test": ("vedette_cli.test", "test"),
    "eval": ("vedette_cli.evaluate", "evaluate"),
    "explain": ("vedette_cli.explain", "explain"),
    "replay": ("vedette_cli.replay", "replay"),
    "worker": ("vedette_cli.worker", "worker"),
    "operator": ("vedette_cli.operator", "operator"),
    "webhook": ("vedette_cli.operator", "webhook"),
    "uninstall": ("vedette_cli.operator", "uninstall"),
}
_SUMMARIES: Final[Mapping[str, str]] = {
    "up": "Run everything on this machine for a folder of manifests.",
    "demo": "Play two hours of a company's logs, attacks included, into a running Vedette.",
    "get": "Show the objects of a running or stopped Vedette, and what is wrong with them.",
    "test": "Run the tests inside manifests.",
    "eval": "Match events against Sigma rules, without a server.",
    "explain": "Show why a rule matches an event, or why not.",
    "replay": "Send dead letters through the pipeline again.",
    "worker": "Run one worker (`vedette up` and pods start them).",
    "operator": "Reconcile the objects of a Kubernetes cluster.",
    "webhook": "Answer admission reviews of a Kubernetes cluster.",
    "uninstall": "Let go of everything before a release is uninstalled.",
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 # click's interface
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 # click's interface
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, _SUMMARIES[name]) for name in _COMMANDS])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vedette", message="vedette %(version)s")
def main() -> None:
    """Vedette finds attacks in logs: sources, enrichments and rules are manifests, alerts become incidents."""
