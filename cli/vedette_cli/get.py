"""`vedette get`: objects with their state, and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import orjson
import yaml

from vedette_backends.cluster.protocol import Object
from vedette_cli.data import DEFAULT_NAME, Data, data_of
from vedette_cli.terminal import plain
from vedette_crds.kinds import KINDS
from vedette_operator.places import locate, told

Row = Sequence[str]


@click.command()
@click.argument("kind", required=False, default="all")
@click.argument("name", required=False)
@click.option(
    "--dir", "folder", type=click.Path(exists=True, path_type=Path), help="Folder of manifests.  [default: .]"
)
@click.option("--data", type=click.Path(path_type=Path), help="Data folder.")
@click.option("-n", "--namespace", help="Only objects of this namespace.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True, help="How."
)
def get(
    kind: str, name: str | None, folder: Path | None, data: Path | None, namespace: str | None, output: str
) -> None:
    """Show objects: KIND is sources, rules, enrichments, incidents, problems or all; NAME tells all about one.

    Exits 1 when something is known to be not Ready, or a file has problems.
    """
    paths = data_of(folder, data)
    cluster = paths.cluster()
    try:
        kinds = _kinds(kind)
        objects = [item for one in kinds for item in cluster.list(one, namespace) if name in {None, item.key.name}]
        if name is not None and not objects:
            raise click.UsageError(f"there is no {kind} {name}")
        problems = [] if name else list(cluster.problems())
        if output == "table":
            if objects:
                _table(objects)
            elif not problems:
                click.echo("no problems" if not kinds else "nothing found")
            if name is not None:
                for item in objects:
                    _details(item, _manifests(paths, folder))
            for problem in problems:
                click.echo(plain(f"✗ {problem}"))
        else:
            whole = [{**item.manifest, "status": item.status} for item in objects]
            items = {"items": whole, "problems": [str(problem) for problem in problems]}
            document: Any = whole[0] if name and len(whole) == 1 else items
            text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
            click.echo(text if output == "json" else yaml.safe_dump(orjson.loads(text), sort_keys=False))
    finally:
        cluster.close()
    broken = [item for item in objects if _condition(item, "Ready").get("status") == "False"]
    sys.exit(1 if problems or broken else 0)


def _kinds(text: str) -> list[str]:
    wanted = text.lower()
    if wanted in {"all", "siem"}:
        return list(KINDS)
    if wanted == "problems":
        return []
    for name, kind in KINDS.items():
        stem = name.lower().removeprefix("log").removeprefix("alert")
        if wanted in {name.lower(), kind.PLURAL, kind.SINGULAR, *kind.SHORT_NAMES, stem, f"{stem}s"}:
            return [name]
    raise click.UsageError(
        f"{text} is no kind; there are {', '.join(kind.PLURAL for kind in KINDS.values())}, problems"
    )


def _condition(item: Object, kind: str) -> Mapping[str, Any]:
    for condition in item.status.get("conditions", ()):
        if condition["type"] == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _manifests(data: Data, folder: Path | None) -> Path:
    """The folder that the origins of objects are relative to."""
    if folder is None and data.root.name == DEFAULT_NAME:
        return data.root.parent
    return folder or Path()


def _table(objects: Sequence[Object]) -> None:
    rows: list[Row] = [("NAMESPACE", "KIND", "NAME", "READY", "REASON", "MESSAGE")]
    for item in objects:
        ready = _condition(item, "Ready")
        rows.append(
            (
                item.key.namespace,
                item.key.kind,
                item.key.name,
                ready.get("status", _phase(item)),
                ready.get("reason", ""),
                ready.get("message", ""),
            )
        )
    _print(rows)


def _phase(item: Object) -> str:
    return str(item.manifest.get("spec", {}).get("phase", "-"))


def _details(item: Object, folder: Path) -> None:
    if item.origin:
        click.echo(f"\nfrom {item.origin}")
    conditions = item.status.get("conditions", ())
    if conditions:
        click.echo("")
        _print(
            [("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE")]
            + [(c["type"], c["status"], c["lastTransitionTime"], c["reason"], c["message"]) for c in conditions]
        )
    for problem in item.status.get("problems", ()):
        click.echo(plain(f"✗ {locate(told(problem), item, folder)}"))


def _print(rows: Sequence[Row]) -> None:
    rows = [[plain(text) for text in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]).rstrip())
