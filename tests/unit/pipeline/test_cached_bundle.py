"""A worker that starts while the store is down has the bundle that it had before, and takes the newest when it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vedette_backends.errors import UnavailableError
from vedette_engine.alerting.bundle import Bundle, BundledEnrichment
from vedette_engine.wire import Record
from vedette_workers.pipeline.attempt import make_try_cached
from vedette_workers.pipeline.cache import BundleCache
from vedette_workers.pipeline.effects import Arrival
from vedette_workers.pipeline.follow import BundleFollower

Manifest = Callable[..., str]


class Taker:
    """Takes bundles and reads their tables."""

    def __init__(self) -> None:
        self.bundles: list[Bundle] = []
        self.tables: dict[str, bytes] = {}

    def __call__(self, bundle: Bundle, tables: Callable[[str], bytes]) -> None:
        self.bundles.append(bundle)
        for item in bundle.enrichments:
            self.tables |= {name: tables(blob) for name, blob in item.tables.items() if isinstance(blob, str)}


def follower(store: Any, taker: Taker, folder: Path) -> BundleFollower:
    return BundleFollower(store, taker, interval=0, clock=lambda: 1.0, cache=BundleCache(folder))


@pytest.fixture
def published(space: Any, make_source: Manifest, make_rule: Manifest, tmp_path: Path) -> str:
    """A bundle with a table, that a worker has loaded once."""
    table = BundledEnrichment("owners", "h", LOOKUP, {"owners": space.store.put_blob(b"host,owner\nweb1,ana\n")})
    head: str = space.publish(space.bundle(make_source(), make_rule(), enrichments=[table]))
    assert follower(space.store, Taker(), tmp_path / "cache").poll()
    return head


LOOKUP = {
    "order": 1,
    "lookup": {
        "keyField": "host.name",
        "table": {"configMap": {"name": "owners", "key": "o"}},
        "set": {"labels.owner": "owner"},
    },
}


def down(unavailable: Any, space: Any) -> Any:
    return unavailable(space.store, {name: [UnavailableError("gone")] * 1000 for name in ("head", "get_blob")})


def test_a_start_without_the_store_uses_the_bundle_and_tables_of_before(
    space: Any, unavailable: Any, published: str, tmp_path: Path
) -> None:
    taker = Taker()
    made = follower(down(unavailable, space), taker, tmp_path / "cache")
    assert made.poll()
    assert made.current == published
    assert [rule.name for rule in taker.bundles[0].rules] == ["marked"]
    assert taker.tables == {"owners": b"host,owner\nweb1,ana\n"}
    assert "gone" in made.problem
    assert not made.poll()


def test_the_newest_bundle_takes_over_when_the_store_is_back(
    space: Any, unavailable: Any, make_source: Manifest, published: str, tmp_path: Path
) -> None:
    store, taker = down(unavailable, space), Taker()
    made = follower(store, taker, tmp_path / "cache")
    made.poll()
    newest = space.publish(space.bundle(make_source("new")))
    store.failures.clear()
    assert made.poll()
    assert made.current == newest != published
    assert made.problem == ""
    assert BundleCache(tmp_path / "cache").head() == newest


def test_only_what_is_in_force_is_kept(space: Any, make_source: Manifest, published: str, tmp_path: Path) -> None:
    newest = space.publish(space.bundle(make_source("new")))
    assert follower(space.store, Taker(), tmp_path / "cache").poll()
    assert {file.name for file in (tmp_path / "cache").iterdir()} == {"head", newest}
    assert published != newest


@pytest.mark.parametrize("damage", ["bundle", "table", "head", "none"])
def test_a_damaged_copy_is_not_used(space: Any, unavailable: Any, published: str, tmp_path: Path, damage: str) -> None:
    for file in (tmp_path / "cache").iterdir():
        kind = {"head": "head", published: "bundle"}.get(file.name, "table")
        if damage == "none":
            file.unlink()
        elif kind == damage:
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    store, taker = down(unavailable, space), Taker()
    made = follower(store, taker, tmp_path / "cache")
    assert not made.poll()
    assert made.current == ""
    store.failures.clear()
    assert made.poll()
    assert made.current == published


def test_a_disk_that_takes_nothing_costs_the_copy_and_nothing_else(
    space: Any, make_source: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    head = space.publish(space.bundle(make_source()))
    made = follower(space.store, Taker(), tmp_path / "file")
    assert made.poll()
    assert made.current == head


def test_the_disposable_child_works_from_the_copy_alone(published: str, tmp_path: Path) -> None:
    assert published
    attempt = make_try_cached("shop", tmp_path / "cache", None)
    attempt(Record("0" * 32, b'{"host":{"name":"web1"}}', "k", 0, keyed=False), Arrival("app", 1, 1, repeat=False))
    with pytest.raises(OSError, match="No such file"):
        make_try_cached("shop", tmp_path / "nowhere", None)
