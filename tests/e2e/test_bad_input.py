"""Whatever is sent or written: a clear error or a dead letter, and every process stays up."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import until

from vedette_backends.store.protocol import TimeRange
from vedette_engine.query.tree import MatchAll

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOKEN = "token-for-bad-input"
MANIFESTS = """
apiVersion: v1
kind: Secret
metadata: {name: app, namespace: bad}
stringData: {token: token-for-bad-input}
---
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: app, namespace: bad}
spec:
  input: {http: {tokenSecretRef: {name: app, key: token}}}
  format: json
  dataset: test.app
  logsource: {category: test}
---
apiVersion: vedette.dev/v1alpha1
kind: AlertRule
metadata: {name: slow, namespace: bad}
spec:
  severity: low
  sigma: |
    title: A catastrophic regular expression
    logsource: {category: test}
    detection: {sel: {text|re: '^(a+)+$'}, condition: sel}
"""
EVENTS: dict[str, bytes] = {
    "invalid UTF-8": b'{"text":"\xff\xfe\x80"}',
    "deep nesting": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "deep lists": b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "a field of 10 MB": b'{"text":"' + b"x" * 10_000_000 + b'"}',
    "100,000 keys": json.dumps({f"key{number}": number for number in range(100_000)}).encode(),
    "duplicate keys": b'{"a":1,"a":2}',
    "NaN": b'{"a":NaN,"b":Infinity}',
    "huge integers": b'{"a":' + b"9" * 400 + b',"b":-' + b"9" * 30 + b',"c":1e400}',
    "odd names": json.dumps(
        {"": 1, ".": 2, "..": 3, "a..b": 4, "a.b": 5, "a": {"b": 6}, "__proto__": {"x": 1}, "constructor": 7, "a\0b": 8}
    ).encode(),
    "year 0": b'{"@timestamp":"0000-01-01T00:00:00Z"}',
    "year 1": b'{"@timestamp":"0001-01-01T00:00:00Z"}',
    "year 9999": b'{"@timestamp":"9999-12-31T23:59:59.999Z"}',
    "a time beyond calendars": b'{"@timestamp":253402300800000}',
    "a negative time": b'{"@timestamp":-99999999999999}',
    "a time that is none": b'{"@timestamp":{"a":[1]}}',
    "other types": b'{"host":7,"user":["a",{"b":1}],"source":{"ip":"not an address","port":"x"},"event":null}',
    "half a surrogate pair": b'{"a":"\\ud800"}',
    "what the program sets": b'{"vedette":{"stored":1},"event":{"ingested":"x","hash":"y"},"_id":"z"}',
    "catastrophic for the rule": json.dumps({"text": "a" * 200_000 + "!"}).encode(),
    "not an object": b"[[1,2],3]",
    "nothing": b"",
    "binary": bytes(range(256)),
}
HOSTILE_FILES = {
    "bomb.yaml": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "\n".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]" for n in range(9)),
    "deep.yaml": "[" * 50_000,
    "binary.yaml": "\x00\x01\x02",
    "regex.yaml": MANIFESTS.split("---")[2].replace("name: slow", "name: broken").replace("^(a+)+$", "(?<=a)(b"),
}


@pytest.fixture
def bad(start: Callable[..., Any]) -> Any:
    return start({"all.yaml": MANIFESTS}, "bad")


def test_bad_events_are_refused_set_aside_or_stored_and_every_process_stays_up(
    bad: Any, alive: Callable[[int], bool]
) -> None:
    workers = bad.pids()
    taken = 0
    for number, (name, body) in enumerate(EVENTS.items()):
        for path, sent in (("/events", body), ("/_bulk", b'{"create":{}}\n' + body.replace(b"\n", b" ") + b"\n")):
            answer = bad.send(TOKEN, sent, path, **{"Content-Type": "application/x-ndjson"})
            assert answer.status in {200, 201, 202, 400, 413}, (name, path, answer.status, answer.text[:500])
            if answer.status >= 400:
                assert answer.text.strip(), name
        # One good event behind each: the way stays open.
        assert bad.send(TOKEN, b'{"event":{"sequence":%d},"good":true}' % number).status < 300
        taken += 1
    until(lambda: good(bad) >= taken, seconds=60, what="all good events in the store")
    assert good(bad) == taken
    assert all(letter.original for letter in bad.letters())
    assert all(map(alive, workers.values()))
    assert bad.pids() == workers
    for page in ("/alerts", "/search", "/rules", "/sources", "/dead-letters"):
        assert bad.page(page).status == 200, page
    assert bad.stop() == 0


def good(vedette: Any) -> int:
    found = vedette.store.top_values(MatchAll(), TimeRange(), "event.sequence", size=1000)
    return sum(count for _, count in found)


def test_bad_requests_get_a_clear_answer(bad: Any) -> None:
    bomb = gzip.compress(b"0" * 200_000_000)
    assert bad.send(TOKEN, bomb, **{"Content-Encoding": "gzip"}).status == 413
    assert bad.send(TOKEN, b"not gzip", **{"Content-Encoding": "gzip"}).status == 400
    told = bad.send(TOKEN, b'{"a":1}\n{"b":\n{"c":3}\n', **{"Content-Type": "application/x-ndjson"})
    assert told.status == 400
    assert "2" in told.text
    assert bad.send(TOKEN, b"{}", "/nowhere").status in {404, 405}
    assert bad.send(TOKEN, b"{}").status < 300


def test_bad_files_in_the_folder_are_problems_and_what_was_good_stays_in_force(
    bad: Any, alive: Callable[[int], bool]
) -> None:
    workers = bad.pids()
    for name, text in HOSTILE_FILES.items():
        (bad.folder / name).write_text(text)

    def told() -> bool:
        output = bad.get("problems").stdout
        return all(f"{name}" in output for name in HOSTILE_FILES if name != "regex.yaml")

    until(told, seconds=60, what="all problems", pause=0.5)
    until(
        lambda: bad.condition("rule", "broken", "Accepted") == ("False", "Invalid"),
        seconds=60,
        what="the broken expression in the status",
        pause=0.5,
    )
    assert "✗ regex.yaml:10" in bad.get("rule", "broken").stdout
    assert bad.send(TOKEN, b'{"text":"aaa"}').status < 300
    until(lambda: bad.alerts("slow"), seconds=30, what="an alert of the rule that was good")
    assert all(map(alive, workers.values()))
    assert bad.pids() == workers


def test_broken_databases_are_told_and_no_event_is_lost(
    bad: Any, shared_data: Path, alive: Callable[[int], bool]
) -> None:
    workers = bad.pids()
    databases = sorted(file for file in (shared_data / "reference" / "geoip" / "bad").rglob("*") if file.is_file())
    assert databases
    names = []
    for number, database in enumerate(databases):
        (bad.folder / f"bad-{number}.mmdb").write_bytes(database.read_bytes())
        names.append(f"geo-{number}")
        (bad.folder / f"geo-{number}.yaml").write_text(
            f"""
apiVersion: vedette.dev/v1alpha1
kind: Enrichment
metadata: {{name: geo-{number}, namespace: bad}}
spec:
  appliesTo: {{fields: [source.ip]}}
  geoip: {{sourceField: source.ip, targetField: source.geo, database: {{file: bad-{number}.mmdb}}}}
"""
        )

    def settled() -> bool:
        output = json.loads(bad.get("enrichments", "-o", "json").stdout)
        conditions = [item["status"].get("conditions", []) for item in output["items"]]
        return len(conditions) == len(names) and all(
            any(one["type"] == "Ready" and one["status"] != "Unknown" for one in found) for found in conditions
        )

    until(settled, seconds=90, what="a verdict on every database", pause=0.5)
    for address in ("1.1.1.1", "2.125.160.216", "81.2.69.160", "::1", "2001:218::", "not an address"):
        assert bad.send(TOKEN, json.dumps({"source": {"ip": address}}).encode()).status < 300
    until(lambda: bad.count() == 6, seconds=60, what="all events in the store")
    assert bad.letters() == []
    assert all(map(alive, workers.values()))
    assert bad.pids() == workers
