"""Whatever an event says, the page shows it as text: nothing runs, hides, reorders or breaks out."""

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from vedette_webui import show

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</pre></td></table><iframe src=//evil.example>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "<a href=https://evil.example>click</a>",
    "&lt;b&gt; &amp; &#x3c;script&#x3e;",
    "\u202egnp.exe",
    "zero\u200bwidth\u2066iso\u2069late",
    "tag\U000e0041\U000e007f",
    "\x00\x07\x1b[31mred\r\nnext",
    "\ud800 lone",
    "x" * 20_000,
    "",
    "__proto__",
]
HOSTILE = st.text(max_size=60) | st.sampled_from(PAYLOADS)
EXTRA = st.characters(categories=["Cf", "Cc", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"])


class Page(HTMLParser):
    """Collects what a browser would run or follow."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(text: str) -> None:
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not {"iframe", "object", "embed", "img", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on"), (name, value)
        assert name != "style"
        if name in {"href", "src", "action", "formaction", "hx-get", "hx-post"}:
            assert value.startswith(("/", "#")) or "runbooks.shop.example" in value, (name, value)
            assert not value.startswith("//")


@given(st.text(alphabet=st.characters() | EXTRA, max_size=200))
def test_one_line_of_text_shows_every_hidden_character_and_keeps_the_others(text: str) -> None:
    shown = show.plain(text)
    assert not any(show.hidden(char) for char in shown)
    if not any(show.hidden(char) for char in text):
        assert shown == text
    shown.encode()


@given(st.text(alphabet=st.characters() | EXTRA, max_size=200))
def test_a_block_of_text_is_escaped_and_keeps_line_breaks_only(text: str) -> None:
    html = show.block(text)
    assert isinstance(html, Markup)
    page = Page(html)
    assert set(page.tags) <= {"span"}
    assert not any(show.hidden(char) for char in page.text if char not in "\n\t")
    assert page.text.count("\n") == text.count("\n")


def test_a_long_value_says_how_much_is_not_shown() -> None:
    assert "… 18000 more characters" in show.block("x" * 20_000)


@pytest.mark.parametrize(
    "char", ["\u202e", "\u2066", "\u200b", "\u00ad", "\u3164", "\u2800", "\ufe0f", "\U000e0041", "\u00a0"]
)
def test_characters_that_deceive_are_named(char: str) -> None:
    assert show.plain(f"a{char}b") == f"a{show.code(char)}b"
    assert f"U+{ord(char):04X}" in show.block(f"a{char}b")


@given(
    st.recursive(
        HOSTILE | st.integers() | st.floats() | st.booleans() | st.none(),
        lambda x: st.lists(x) | st.dictionaries(HOSTILE, x),
        max_leaves=8,
    )
)
def test_any_value_can_be_shown_as_json(value: Any) -> None:
    assert isinstance(show.json_text(value, indent=True), str)
    for text in show.values(value):
        assert isinstance(text, str)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=HOSTILE, name=HOSTILE, number=st.integers(1, 10**9))
def test_a_hostile_alert_runs_nothing_on_any_page(world: Any, ana: Any, text: str, name: str, number: int) -> None:
    clean = text.encode("utf-8", "replace").decode()
    field = name.encode("utf-8", "replace").decode() or "field"
    document = {
        "message": clean,
        field: [clean, 1],
        "host.name": clean,
        "vedette.other": {f"x.{field}": {"deep": clean}},
    }
    atom = {"kind": "atom", "held": True, "field": field, "operator": clean, "expected": clean, "actual": [clean]}
    other = {"kind": "not", "held": False, "why": clean, "parts": [clean, None, {"kind": clean}]}
    explanation = {"kind": "and", "held": True, "name": clean, "parts": [atom, other]}
    detection = {"tags": [clean], "owner": clean, "runbook": clean, "source": clean, "explanation": explanation}
    alert = world.alert(
        number, id=f"alert-{number}", title=clean, summary=clean, rule=clean, severity=clean,
        body={"detection": detection, "events": [{"id": clean, "time": 1, "document": document}]},
    )  # fmt: skip
    for path in (f"/alerts/{alert.id}", f"/alerts/{alert.id}?tab=raw", "/alerts?status=all"):
        page = ana.get(path)
        assert page.status_code == 200, page.text[-500:]
        harmless(page.text)


@pytest.mark.parametrize("text", PAYLOADS)
def test_hostile_events_dead_letters_and_queries_run_nothing(world: Any, ana: Any, text: str) -> None:
    from vedette_backends.store.protocol import DeadLetter  # noqa: PLC0415 # one test needs it

    clean = text.encode("utf-8", "replace").decode()
    world.events({1: {"message": clean, "user.name": clean[:500], "vedette.other": {"vendor.x": clean[:500]}}})
    raw = text.encode("utf-8", "surrogatepass")
    world.store.put_dead_letters([DeadLetter("d", 1, clean[:50], clean[:50], clean, raw, {"key": clean})])
    paths = {
        "/search": {"range": "all"},
        "/search?cols=user.name,vendor.x": {"range": "all"},
        "/search/field": {"field": "user.name", "range": "all"},
        f"/events/{1:032x}": {},
        "/dead-letters": {},
        "/search?": {"q": clean[:2000]},
        "/alerts": {"q": clean[:2000], "rule": clean[:2000], "owner": clean[:2000]},
        "/rules": {"q": clean[:2000]},
        "/incidents": {"q": clean[:2000], "phase": clean[:200]},
    }
    for path, params in paths.items():
        page = ana.get(
            path, params={**dict(part.split("=") for part in path.partition("?")[2].split("&") if part), **params}
        )
        assert page.status_code == 200, (path, page.text[-300:])
        if "/search/field" not in path:
            harmless(page.text)


def test_a_runbook_is_a_link_only_when_it_is_a_web_address(world: Any, ana: Any) -> None:
    for number, (runbook, linked) in enumerate(
        [("https://runbooks.shop.example/ssh", True), ("javascript:alert(1)", False), ("ftp://x", False)]
    ):
        world.alert(number, body={"detection": {"runbook": runbook}, "events": []})
        assert (f'href="{runbook}"' in ana.get(f"/alerts/alert-{number}").text) is linked


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"detection": None},
        {"detection": [], "events": {}},
        {"detection": {"explanation": "x", "tags": 5}, "events": [1, None, {"document": []}, {"time": "x"}]},
        {"detection": {"explanation": {"parts": 7}}},
    ],
)
def test_a_damaged_alert_still_has_a_page(world: Any, ana: Any, body: dict[str, Any]) -> None:
    world.alert(1, body=body)
    assert ana.get("/alerts/alert-1").status_code == 200
    assert ana.get("/alerts").status_code == 200


def test_a_deep_explanation_is_cut_and_not_followed_for_ever(world: Any, ana: Any) -> None:
    tree: dict[str, Any] = {"kind": "atom", "field": "x", "held": True}
    for _ in range(120):
        tree = {"kind": "and", "held": True, "parts": [tree]}
    world.alert(1, body={"detection": {"explanation": tree}, "events": []})
    page = ana.get("/alerts/alert-1")
    assert page.status_code == 200
    assert "deeper than 40 levels" in page.text
