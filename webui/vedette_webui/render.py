"""Templates: everything they print is made visible and escaped unless they say otherwise."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from vedette_webui import attack, entities, show, timespan
from vedette_webui.settings import Settings

SEVERITIES = ("critical", "high", "medium", "low", "informational")


class AssetsMissingError(RuntimeError):
    """The front-end assets were not built."""


class Templates:
    """The Jinja environment.

    Raises:
        AssetsMissingError: `scripts/assets` has not run.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._assets: dict[str, str] = json.loads((settings.assets / "manifest.json").read_text())
        except FileNotFoundError as error:
            raise AssetsMissingError(f"{settings.assets} holds no assets; run scripts/assets") from error
        self._environment = _environment()

    def asset(self, name: str) -> str:
        """Address of a built asset."""
        return f"/static/{self._assets[name]}"

    def response(self, template: str, code: int = 200, **context: Any) -> HTMLResponse:
        """A rendered page."""
        text = self._environment.get_template(template).render(asset=self.asset, **context)
        return HTMLResponse(text.encode("utf-8", "replace"), code)


@cache
def _environment() -> Environment:
    """One for the process: it keeps the compiled templates, and nothing of a request."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=show.finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"severities": SEVERITIES, "values": show.values, "attack": attack.technique}
    environment.filters |= {
        "block": show.block,
        "exact": show.exact,
        "scalar": show.scalar,
        "ago": timespan.ago,
        "pretty": lambda value: show.json_text(value, indent=True),
        "compact": show.json_text,
        "count": count,
        "when": when,
        "flat": show.flat,
        "leading": entities.leading,
        "rest": lambda fields, shown: [pair for pair in fields.items() if pair not in shown],
        "headline": entities.headline,
        "toggled": toggled,
        "moment": lambda text: timespan.moment(str(text)),
        "decoded": lambda raw: raw.decode("utf-8", "backslashreplace"),
    }
    return environment


def when(time: Any, form: str = "time") -> Markup:
    """A moment: UTC in the page, made local (`time`, `full` or `age`) by the script, with UTC and age on hover."""
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        return Markup('<span class="none">&ndash;</span>')
    time = int(time)
    return Markup('<time datetime="{}" data-form="{}" title="{} UTC">{}</time>').format(
        timespan.iso(time), form, timespan.short(time), timespan.short(time)
    )


def toggled(names: list[str], name: str) -> str:
    """The list of columns with one added or taken away, as the address writes it."""
    return ",".join([each for each in names if each != name] if name in names else [*names, name])


def count(number: float) -> Markup:
    """A number with thin spaces between its thousands."""
    text = f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.0f}"
    return Markup(text.replace(",", "\u2009"))  # noqa: S704 # digits and spaces
