"""`vedette explain`: why a rule matches an event, or why not."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click
import orjson

from vedette_cli.evaluate import parse_logsource
from vedette_cli.rulefiles import SearchRule, read_rules
from vedette_cli.shapes import Shape, to_flat
from vedette_cli.terminal import plain
from vedette_engine.alerting.groups import groups_of
from vedette_engine.alerting.ruletests import flatten
from vedette_engine.alerting.search_rules import describe
from vedette_engine.detect.explain import explain as explain_match
from vedette_engine.detect.logsource import Logsources, fits
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.normalise.document import to_document
from vedette_engine.normalise.errors import Malformed
from vedette_engine.query.lucene import parse
from vedette_engine.query.naive import matches


@click.command()
@click.argument("rule", type=click.Path(exists=True, path_type=Path))
@click.argument("event", type=click.Path(exists=True, allow_dash=True, dir_okay=False, path_type=Path))
@click.option("--line", default=1, show_default=True, type=click.IntRange(1), help="Which line of an NDJSON file.")
@click.option("--json", "as_json", is_flag=True, help="The tree as JSON.")
@click.option("--logsource", metavar="K=V,…", help="What the event is; default: told by the event.")
def explain(rule: Path, event: Path, line: int, as_json: bool, logsource: str | None) -> None:
    """Show which parts of RULE's condition hold for EVENT and which do not, and why.

    RULE is a Sigma file or an AlertRule manifest, EVENT a JSON file (or a line of NDJSON, - for standard input). Of a
    scheduled search it is told whether its query finds the event, and in which group it counts.
    Exits 0 when the rule matches, 1 when it does not, 2 when something cannot be read.
    """
    loaded = read_rules(rule)
    for problem in loaded.problems:
        click.echo(f"rejected: {problem}", err=True)
    if not loaded.rules and not loaded.searches:
        raise click.UsageError(f"{rule} holds no rule that can be loaded")
    try:
        shape, fields = to_flat(_read_event(event, line))
    except Malformed as error:
        raise click.UsageError(f"{event}: {error.detail}") from error
    naming = ECS if shape is Shape.ECS else NATIVE
    claimed = parse_logsource(logsource)
    fixed = None if claimed is None else Logsources(*(frozenset({part} if part else ()) for part in claimed))
    logsources = fixed or event_logsources(fields, None)
    held = False
    for item in loaded.rules:
        explanation = explain_match(item, fields, naming)
        routed = logsources is None or fits(item.logsource, logsources)
        tree = explanation.to_json()
        held = held or bool(tree["held"] and routed)
        if as_json:
            click.echo(orjson.dumps({"rule": item.id, "title": item.title, "routed": routed, "tree": tree}).decode())
            continue
        verdict = "matches" if tree["held"] and routed else "does not match"
        click.echo(f"{item.title} — {verdict}")
        if not routed:
            click.echo(f"  the event is not of the rule's log source ({item.logsource}), so the rule is not tried")
        click.echo(explanation.render())
    for search in loaded.searches:
        held |= _search(search, flatten(fields), as_json=as_json)
    sys.exit(0 if held else 1)


def _search(rule: SearchRule, event: dict[str, Any], *, as_json: bool) -> bool:
    """Tell whether the query of a search finds the event, and what it would count for; returns the first."""
    spec = rule.spec
    document = to_document(event)
    found = matches(parse(spec.query), document)
    groups = [dict(zip(spec.group_by, group, strict=True)) for group in groups_of(document, spec.group_by)]
    if as_json:
        told = {"title": rule.title, "query": spec.query, "found": found, "groups": groups if found else []}
        click.echo(orjson.dumps(told).decode())
        return found
    click.echo(plain(f"{rule.title} — the query {'finds' if found else 'does not find'} the event"))
    click.echo(plain(f"  {spec.query}"))
    if found:
        for group in groups if spec.group_by else ():
            values = ", ".join(f"{name} {'absent' if value is None else value}" for name, value in group.items())
            click.echo(plain(f"  it counts for {values}"))
        click.echo(plain(f"  the rule asks for {describe(spec)}"))
    return found


def _read_event(file: Path, line: int) -> dict[str, object]:
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    # Where the file is not one object, it is NDJSON, of which one line is wanted.
    with contextlib.suppress(orjson.JSONDecodeError):
        whole = orjson.loads(data)
        if isinstance(whole, dict):
            return whole
    lines = data.splitlines()
    if line > len(lines):
        raise click.UsageError(f"{file} has {len(lines)} lines, not {line}")
    try:
        found = orjson.loads(lines[line - 1])
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"{file}:{line} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"{file}:{line} is not a JSON object")
    return found
