"""The gateway's table: what is in it, and how it gets to where gateways read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest

from vedette_backends.cluster.protocol import Key, Object
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_operator.gateway_table import file_sink, head_sink, table
from vedette_operator.space import Known, Space
from vedette_operator.verdict import Verdict


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = open_store(tmp_path / "store", writer=True)
    yield made
    made.close()


def add(space: Space, name: str, secret: str | None, limits: Any = None) -> Known:
    """A good source; `secret` None for one that nobody sends to by HTTP."""
    gateway = None if secret is None else {"secret": secret, "key": "token", "limits": limits}
    item = Object(Key("LogSource", space.namespace, name), {"metadata": {"name": name}, "spec": {}}, {}, 1, 1)
    known = Known(item, Verdict((), {"format": "syslog", "gateway": gateway}))
    space.objects["LogSource"][name] = known
    return known


def secrets(namespace: str, name: str, key: str) -> bytes | None:
    """Every Secret's token is its name, save for those that are missing or empty."""
    assert key == "token"
    return {"missing": None, "empty": b" \n"}.get(name, f"{namespace}-{name}\n".encode())


def entries(*spaces: Space) -> list[dict[str, Any]]:
    found = json.loads(table(spaces, secrets))
    assert found["v"] == 1
    return list(found["sources"])


def topology(known: Known) -> tuple[str, str]:
    assert known.token is not None
    assert known.token.type == "TopologyReady"
    return known.token.status, known.token.reason


def test_a_source_stands_with_the_digest_of_its_token_and_its_limits() -> None:
    space = Space("shop", None)
    known = add(space, "web", "web", {"maxEventBytes": 1000})
    (entry,) = entries(space)
    assert entry == {
        "namespace": "shop",
        "name": "web",
        "format": "syslog",
        "tokens": [sha256(b"shop-web").hexdigest()],
        "limits": {"maxEventBytes": 1000},
    }
    assert topology(known) == ("True", "Declared")


def test_a_token_is_not_in_the_table() -> None:
    space = Space("shop", None)
    add(space, "web", "web")
    assert b"shop-web" not in table([space], secrets)


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_source_without_a_token_says_which_secret_it_waits_for(name: str) -> None:
    space = Space("shop", None)
    known = add(space, "web", name)
    add(space, "other", "other")
    assert [entry["name"] for entry in entries(space)] == ["other"]
    assert topology(known) == ("False", "ReferenceNotFound")
    assert known.token is not None
    assert f"Secret shop/{name}" in known.token.message


def test_sources_that_share_a_token_are_left_out_and_name_each_other() -> None:
    shop = Space("shop", None)
    first, second, third = add(shop, "a", "same"), add(shop, "b", "same"), add(shop, "c", "own")
    assert [entry["name"] for entry in entries(shop)] == ["c"]
    assert topology(first) == topology(second) == ("False", "TokenShared")
    assert first.token is not None
    assert "LogSource shop/b" in first.token.message
    assert topology(third) == ("True", "Declared")
    # As soon as one of them has another token both are taken.
    add(shop, "b", "another")
    assert [entry["name"] for entry in entries(shop)] == ["a", "b", "c"]
    assert topology(first) == ("True", "Declared")


def test_one_token_in_two_namespaces_is_shared_too() -> None:
    shop, bank = Space("shop", None), Space("bank", None)
    one, other = add(shop, "web", "x"), add(bank, "web", "x")
    found = json.loads(table([shop, bank], lambda *_: b"the same"))
    assert found["sources"] == []
    assert topology(one) == topology(other) == ("False", "TokenShared")


def test_a_source_of_another_input_is_ready_without_an_entry() -> None:
    space = Space("shop", None)
    known = add(space, "amqp", None)
    assert entries(space) == []
    assert topology(known) == ("True", "Declared")


# sinks ---------------------------------------------------------------------------------------------------------------
def test_a_head_points_at_what_was_written_last(store: EmbeddedStore) -> None:
    write = head_sink(store)
    for text in (b"one", b"two"):
        write(text)
        head = store.head("gateway")
        assert head is not None
        assert store.get_blob(head) == text


def test_what_is_there_already_is_not_written_again(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    head_sink(store, "fleet")(b"one")
    heads: list[str] = []
    monkeypatch.setattr(store, "set_head", lambda name, _digest: heads.append(name))
    write = head_sink(store, "fleet")  # another operator begins
    write(b"one")
    write(b"one")
    assert heads == []
    write(b"two")
    assert heads == ["fleet"]


def test_a_file_is_replaced_at_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "run" / "gateway.json"
    write = file_sink(file)
    write(orjson.dumps({"v": 1}))
    with file.open("rb") as reader:
        write(b"{}")
        assert reader.read() == b'{"v":1}'
    assert file.read_bytes() == b"{}"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["gateway.json"]
