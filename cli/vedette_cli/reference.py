"""Reference pages of what only the whole program knows: commands, metrics, counters, dead letters.

python -m vedette_cli.reference [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from vedette_cli import operator_metrics
from vedette_cli.main import main as vedette
from vedette_engine.normalise.counters import COUNTERS
from vedette_operator.admission import metrics as webhook_metrics
from vedette_workers.gateway import metrics as gateway_metrics
from vedette_workers.metrics import METRICS
from vedette_workers.pipeline.reasons import REASONS

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `make generate`; changes belong into the code. -->"


_TABLES = {"gateway": gateway_metrics, "operator": operator_metrics, "webhook": webhook_metrics}
_PLACES = (
    "`GET /metrics` in Prometheus' text format:",
    "",
    "| process | in a cluster, on port | with `vedette up` |",
    "| --- | --- | --- |",
    "| gateway | 9090 | 8421 |",
    "| pipeline, responder, scheduler, librarian, operator | 9090 | |",
    "| web UI | 9090; nothing but `process_*` | |",
    "| webhook | 8443, HTTPS | |",
    "",
    "All but gateway and webhook also tell `process_*` of the Prometheus client: CPU, memory, open files.",
)


def commands() -> str:
    """Every command with its options."""
    lines = ["# Commands", "", NOTE]
    context = vedette.make_context("vedette", [], resilient_parsing=True)
    assert isinstance(vedette, click.Group)
    for name in vedette.list_commands(context):
        command = vedette.get_command(context, name)
        assert command is not None
        lines += _command(command, click.Context(command, info_name=name, parent=context))
    return "\n".join(lines) + "\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from ("", f"## {context.command_path}", "", "```text")
    # As wide as a page, whatever the terminal of whoever generates.
    context.terminal_width = context.max_content_width = 100
    yield from command.get_help(context).splitlines()
    yield "```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _command(inner, click.Context(inner, info_name=name, parent=context))


def telemetry() -> str:
    """Metrics, counters and the reasons of dead letters."""
    lines = ["# Metrics, counters and dead letters", "", NOTE, "", *_PLACES]
    for title, module in _TABLES.items():
        lines += ["", f"## Metrics of the {title}", ""]
        lines += _table(
            ("name", "type", "labels", "meaning"),
            (
                (f"`{module.PREFIX}{name}`", kind, ", ".join(labels), text)
                for name, (kind, labels, text) in module.TABLE.items()
            ),
        )
    lines += ["", "## Metrics of pipeline, responder, scheduler and librarian", ""]
    lines += _table(
        ("name", "type", "labels", "worker", "meaning"),
        ((f"`{spec.name}`", spec.kind, ", ".join(spec.labels), ", ".join(spec.roles), spec.text) for spec in METRICS),
    )
    lines += ["", "## Counters of the normalisation", "", "Nothing of an event disappears without one of these.", ""]
    lines += _table(("counter", "counts"), ((f"`{name}`", text) for name, text in COUNTERS.items()))
    lines += [
        "",
        "## Reasons of dead letters",
        "",
        "They keep the original; `vedette replay` sends them again.",
        "",
    ]
    lines += _table(("reason", "meaning"), ((f"`{name}`", text) for name, text in REASONS.items()))
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = list(head)
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Write the pages; with --check, fail when one is not fresh."""
    pages = {"commands.md": commands(), "metrics.md": telemetry()}
    stale = [name for name, text in pages.items() if not _is(FOLDER / name, text)]
    if "--check" in sys.argv:
        if stale:
            raise SystemExit(f"docs/reference: {', '.join(stale)} not fresh; run `make generate`")
        return
    for name in stale:
        (FOLDER / name).write_text(pages[name], encoding="utf-8")


def _is(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
