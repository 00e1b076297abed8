"""The pages people read: links lead somewhere, what is quoted exists, manifests are right."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from vedette_cli.main import main as vedette
from vedette_crds.kinds import KINDS

ROOT = Path(__file__).parents[3]
PAGES = [
    path.relative_to(ROOT)
    for path in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
VALUE = re.compile(r"`([a-z][A-Za-z]*(?:\.[A-Za-z]+)+)`")


def text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Code blocks of a page in one of these languages."""
    for indent, language, body in FENCE.findall(text(page)):
        if language in languages:
            yield "\n".join(line.removeprefix(indent) for line in body.splitlines())


def anchors(page: Path) -> set[str]:
    """What a link may name behind `#`, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", text(page))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.resolve().relative_to(ROOT)), target


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_command_that_is_shown_exists(page: Path) -> None:
    assert isinstance(vedette, click.Group)
    commands = vedette.list_commands(click.Context(vedette))
    shown = "\n".join(body for _, language, body in FENCE.findall(text(page)) if language in {"", "sh", "console"})
    for command in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?vedette ([a-z]+)", shown, re.MULTILINE):
        assert command in commands
    for script in re.findall(r"\b(?:scripts|\.ci)/[a-z-]+\b", text(page)):
        assert (ROOT / script).exists(), script
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^ {4}|`|^\$ )make ([a-z-]+)", text(page), re.MULTILINE):
        assert target in targets


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_manifest_that_is_shown_is_valid(page: Path) -> None:
    for body in blocks(page, "yaml", "yml"):
        for document in yaml.safe_load_all(body):
            if isinstance(document, dict) and str(document.get("apiVersion")).startswith("vedette.dev/"):
                KINDS[document["kind"]].model_validate(document)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_program_that_is_shown_can_be_parsed(page: Path) -> None:
    for body in blocks(page, "python"):
        compile(body, str(page), "exec")
    for body in blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=body, text=True, check=True)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_value_of_the_chart_that_is_named_exists(page: Path) -> None:
    values = yaml.safe_load((ROOT / "charts" / "vedette" / "values.yaml").read_text())
    for name in VALUE.findall(text(page)):
        found: Any = values
        first, *rest = name.split(".")
        # Others speak of fields of objects: `workers.mode`, `limits.maxEventBytes`.
        if first not in values:
            continue
        for step in (first, *rest):
            assert isinstance(found, dict), name
            assert step in found, name
            found = found[step]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_metric_that_is_named_exists(page: Path) -> None:
    known = text(Path("docs/reference/metrics.md"))
    for name in re.findall(
        r"\bvedette_(?:gateway|worker|pipeline|responder|scheduler|librarian|operator|admission)_\w*[a-z]\b", text(page)
    ):
        assert f"`{name}`" in known, name


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    left = [Path("README.md")]
    while left:
        page = left.pop()
        seen.add(page)
        names = (target.partition("#")[0] for target in LINK.findall(text(page)) if "://" not in target)
        found = [((ROOT / page).parent / name).resolve().relative_to(ROOT) for name in names if name]
        left += [other for other in found if other.suffix == ".md" and other not in seen]
    listed = {page for page in PAGES if page.parts[0] == "docs" and page.parts[1] != "decisions"}
    assert listed <= seen
