"""What one record becomes: events, alerts, dead letters; and how bundles take effect."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vedette_crds.problems import ProblemsError
from vedette_engine.alerting.bundle import BundledEnrichment
from vedette_engine.alerting.ids import alert_id
from vedette_workers.pipeline.effects import Effects

Manifest = Callable[..., str]


def reasons(effects: Effects) -> list[str]:
    return [letter.reason for letter in effects.letters]


def test_an_event_becomes_a_document_with_its_source_and_times(line: Any, make_source: Manifest) -> None:
    line.load(make_source(retention="90d"))
    effects = line.run(b'{"event":{"action":"x"},"vendor":{"a":1}}')
    ((retention, event),) = effects.events
    assert retention == "90d"
    assert event.document["event.action"] == "x"
    assert event.document["event.dataset"] == "test.app"
    assert event.document["vedette.other"]["vendor.a"] == 1
    assert event.ingested == 1_795_000_000_000
    assert reasons(effects) == []


def test_the_hash_is_that_of_the_bytes_as_they_came(line: Any, make_source: Manifest) -> None:
    line.load(make_source())
    raws = [b'{"a":1}', b'{"a": 1}', b'{"a":1}']
    hashes = [event.hash for _, event in line.run(*raws).events]
    assert hashes == [blake2b(raw, digest_size=16).hexdigest() for raw in raws]


def test_the_hash_does_not_depend_on_enrichments(line: Any, make_source: Manifest) -> None:
    line.load(make_source())
    before = line.run(b'{"a":1}').events[0][1]
    spec = {"set": {"labels.added": "yes"}}
    line.load(make_source(), enrichments=[BundledEnrichment("mark", "h1", spec)])
    after = line.run(b'{"a":1}').events[0][1]
    assert after.document["vedette.other" if "labels.added" not in after.document else "labels.added"]
    assert after.hash == before.hash


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "MalformedJson"),
        (b"\xff\xfe{}", "MalformedJson"),
        (b"", "MalformedJson"),
        (b'{"a":NaN}', "MalformedJson"),
        (b"[1,2]", "NotAnObject"),
        (b'"text"', "NotAnObject"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "TooDeep"),
        (b'{"a":"' + b"x" * 300_000 + b'"}', "TooLarge"),
    ],
    ids=["cut off", "not UTF-8", "empty", "NaN", "list", "text", "deep", "large"],
)
def test_a_record_of_which_no_event_can_be_made_is_a_dead_letter_that_holds_it_whole(
    line: Any, make_source: Manifest, raw: bytes, reason: str
) -> None:
    line.load(make_source())
    effects = line.run(raw, b'{"ok":true}')
    (letter,) = effects.letters
    assert letter.reason == reason
    assert letter.original == raw
    assert letter.detail
    assert len(letter.detail) < 500
    assert letter.headers["position"] == "0"
    assert len(effects.events) == 1


def test_a_source_that_is_not_in_force_gives_dead_letters(line: Any, make_source: Manifest) -> None:
    line.load(make_source("app"))
    assert reasons(line.run(b"{}", source="gone")) == ["UnknownSource"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "", ".", "a.b", "__proto__", "@timestamp", "user", "name"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values)
def test_every_record_becomes_exactly_one_event_or_one_dead_letter(
    line: Any, make_source: Manifest, make_rule: Manifest, value: Any
) -> None:
    if not line.processor.sources:
        line.load(make_source(), make_rule())
    effects = line.run(_json(value))
    assert len(effects.events) + len(effects.letters) == 1
    assert "ProcessingError" not in reasons(effects)
    for _, event in effects.events:
        assert orjson.loads(orjson.dumps(event.document)) == event.document


def _json(value: Any) -> bytes:
    import json  # noqa: PLC0415 # orjson does not write integers of more than 64 bits

    return json.dumps(value).encode()


# splitting -----------------------------------------------------------------------------------------------------------
CLOUDTRAIL = {"format": "json", "extra": "parser: aws.cloudtrail"}


def trail(*names: str) -> bytes:
    return orjson.dumps({"Records": [{"eventName": name, "eventSource": "s3.amazonaws.com"} for name in names]})


def test_a_delivered_file_of_cloudtrail_becomes_one_event_per_record(line: Any, make_source: Manifest) -> None:
    line.load(make_source(**CLOUDTRAIL))
    effects = line.run(trail("A", "B", "A"))
    events = [event for _, event in effects.events]
    assert [event.document["event.action"] for event in events] == ["A", "B", "A"]
    assert len({event.id for event in events}) == 3
    again = [event.id for _, event in line.run(trail("A", "B", "A")).events]
    assert again == [event.id for event in events]


def test_a_broken_record_in_a_delivered_file_does_not_cost_the_others(line: Any, make_source: Manifest) -> None:
    line.load(make_source(**CLOUDTRAIL))
    raw = orjson.dumps({"Records": [{"eventName": "A"}, "not a record", {"eventName": "B"}]})
    effects = line.run(raw)
    assert [event.document["event.action"] for _, event in effects.events] == ["A", "B"]
    assert reasons(effects) == ["NotAnObject"]


def test_what_the_store_refuses_of_a_delivered_file_can_be_replayed_under_the_same_id(
    line: Any, make_source: Manifest
) -> None:
    """Replay gives a record the id of its key and position, so a letter has to hold what that id stands for."""
    line.load(make_source(**CLOUDTRAIL))
    effects = line.run(trail("A", "B"))
    for (_, event), (arrival, record) in zip(effects.events, effects.originals, strict=True):
        again = Effects()
        line.processor.process(record, arrival, again)
        assert event.id in [made.id for _, made in again.events]
        assert arrival.letter(record, "IdCollision", "").headers["id"] == f"{0:032x}"


def test_a_delivered_file_with_one_record_or_none_is_read_as_such(line: Any, make_source: Manifest) -> None:
    line.load(make_source(**CLOUDTRAIL))
    effects = line.run(trail("A"), trail(), b'{"eventName":"B"}')
    assert [event.document.get("event.action") for _, event in effects.events] == ["A", None, "B"]
    assert effects.letters == []


# alerts --------------------------------------------------------------------------------------------------------------
def test_an_alert_says_what_a_responder_needs(line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    extra = (
        "{severity: critical, owner: ana, runbook: https://r.example/1, summary: 'saw {event.action} on {host.name}'}"
    )
    line.load(make_source(), make_rule(extra=extra[1:-1].replace(", ", "\n  ")))
    effects = line.run(b'{"event":{"action":"marked"},"host":{"name":"web1"},"@timestamp":"2026-11-18T10:00:00Z"}')
    (alert,) = effects.alerts
    event_id = effects.events[0][1].id
    assert alert.severity == "critical"
    assert alert.title == "Event marked was seen"
    assert alert.summary == "saw marked on web1"
    assert alert.rule == "marked"
    assert alert.time == effects.events[0][1].time
    assert alert.raised == 1_795_000_000_005
    assert alert.id == alert_id("shop", "marked", "5b6c2f1e-0000-4000-8000-0000000000aa", event_id)
    assert alert.body["detection"]["owner"] == "ana"
    assert alert.body["detection"]["runbook"] == "https://r.example/1"
    assert alert.body["detection"]["source"] == "app"
    assert alert.body["detection"]["explanation"]["held"] is True
    (copy,) = alert.body["events"]
    assert copy["id"] == event_id
    assert copy["document"]["host.name"] == "web1"
    orjson.dumps(alert)


def test_tags_of_the_alertrule_come_besides_those_of_sigma(
    line: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    line.load(make_source(), make_rule(extra="tags: [team.blue, attack.t1059]"))
    (alert,) = line.run(b'{"event":{"action":"marked"}}').alerts
    assert sorted(alert.body["detection"]["tags"]) == ["attack.t1059", "team.blue"]


def test_two_documents_of_one_rule_raise_two_alerts(line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    one = make_rule().split("  sigma: |\n")[1]
    unnamed = "".join(text for text in one.splitlines(keepends=True) if "id: 5b" not in text)
    for documents in (one + "    ---\n" + one, unnamed + "    ---\n" + unnamed):
        line.load(make_source(), make_rule().split("    title:")[0] + documents)
        alerts = line.run(b'{"event":{"action":"marked"}}').alerts
        assert len({alert.id for alert in alerts}) == 2


def test_severity_and_summary_come_from_sigma_where_the_alertrule_says_nothing(
    line: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    line.load(make_source(), make_rule())
    (alert,) = line.run(b'{"event":{"action":"marked"}}').alerts
    assert (alert.severity, alert.summary) == ("high", "Event marked was seen")


def test_an_event_that_cannot_be_processed_raises_no_alert(
    line: Any, make_source: Manifest, make_rule: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.load(make_source(), make_rule())
    normaliser = line.processor.sources["app"].normaliser

    def fails(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(normaliser, "document", fails)
    effects = line.run(b'{"event":{"action":"marked"}}')
    assert reasons(effects) == ["ProcessingError"]
    assert effects.events == []
    assert effects.alerts == []


# bundles -------------------------------------------------------------------------------------------------------------
def test_a_new_bundle_changes_rules_sources_and_nothing_else(
    line: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    line.load(make_source("app"), make_source("other"), make_rule("one", "a"), make_rule("two", "b"))
    kept = line.processor.sources["app"]
    line.load(make_source("app"), make_source("other", retention="7d"), make_rule("one", "a"), make_rule("two", "c"))
    assert line.processor.sources["app"] is kept
    records = [b'{"event":{"action":"%s"}}' % action for action in (b"a", b"b", b"c")]
    assert [alert.rule for alert in line.run(*records).alerts] == ["one", "two"]
    assert line.run(b"{}", source="other").events[0][0] == "7d"


def test_a_removed_rule_raises_nothing_any_more(line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    line.load(make_source(), make_rule("one", "a"), make_rule("two", "a"))
    assert [alert.rule for alert in line.run(b'{"event":{"action":"a"}}').alerts] == ["one", "two"]
    line.load(make_source(), make_rule("two", "a"))
    assert [alert.rule for alert in line.run(b'{"event":{"action":"a"}}').alerts] == ["two"]


def test_a_bundle_that_cannot_be_loaded_leaves_the_old_one_in_force(
    line: Any, make_source: Manifest, make_rule: Manifest
) -> None:
    line.load(make_source(), make_rule("one", "a"))
    broken = BundledEnrichment("geo", "h", {"geoip": {"sourceField": "a", "targetField": "b", "database": {}}})
    with pytest.raises(ProblemsError):
        line.load(make_source(retention="7d"), make_rule("one", "b"), enrichments=[broken])
    effects = line.run(b'{"event":{"action":"a"}}')
    assert [alert.rule for alert in effects.alerts] == ["one"]
    assert effects.events[0][0] == "30d"


def test_a_logsource_claimed_in_capitals_satisfies_rules(line: Any, make_source: Manifest, make_rule: Manifest) -> None:
    line.load(make_source().replace("category: test", "category: Test"), make_rule())
    assert len(line.run(b'{"event":{"action":"marked"}}').alerts) == 1
