"""What pods do around their work: follow the gateway's table, and end when their settings change."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.helpers import until

from vedette_backends.errors import UnavailableError
from vedette_backends.store.embedded import EmbeddedStore, open_store
from vedette_cli.pods import GATEWAY_HEAD, Pod, content, end_when_changed, head_poll
from vedette_workers.status import BUNDLE, Vitals


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    made = open_store(tmp_path / "store", writer=True)
    yield made
    made.close()


@pytest.fixture
def vitals() -> Vitals:
    made = Vitals()
    made.expect(BUNDLE)
    return made


def publish(store: EmbeddedStore, *sources: str) -> str:
    head = store.put_blob(orjson.dumps({"v": 1, "sources": list(sources)}))
    store.set_head(GATEWAY_HEAD, head)
    return head


# the gateway's table -------------------------------------------------------------------------------------------------
def test_before_the_operator_published_a_table_there_is_none(store: EmbeddedStore, vitals: Vitals) -> None:
    assert head_poll(store, vitals)("") is None
    assert vitals.unready() == {}


def test_each_table_is_handed_over_once(store: EmbeddedStore, vitals: Vitals) -> None:
    poll = head_poll(store, vitals)
    first = publish(store, "web")
    assert poll("") == (first, {"v": 1, "sources": ["web"]})
    assert poll(first) is None
    second = publish(store, "web", "mail")
    assert poll(first) == (second, {"v": 1, "sources": ["web", "mail"]})
    assert poll(first) is None  # it was refused: it is not read again and again
    assert publish(store, "web") == first
    assert poll(first) is None


def test_a_store_that_does_not_answer_leaves_the_table_and_is_told_to_the_probe(
    store: EmbeddedStore, vitals: Vitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = head_poll(store, vitals)
    head = publish(store, "web")

    def down(_: str) -> str:
        raise UnavailableError("Elasticsearch is away")

    with monkeypatch.context() as patched:
        patched.setattr(store, "head", down)
        with pytest.raises(OSError, match="Elasticsearch is away"):
            poll("")
    assert vitals.unready() == {BUNDLE: "Elasticsearch is away"}
    found = poll("")
    assert found is not None
    assert found[0] == head
    assert vitals.unready() == {}
    # From now on events are taken, whether or not the store answers.
    with monkeypatch.context() as patched:
        patched.setattr(store, "head", down)
        with pytest.raises(OSError, match="Elasticsearch is away"):
            poll(head)
    assert vitals.unready() == {}


def test_a_table_whose_blob_cannot_be_read_is_tried_again(
    store: EmbeddedStore, vitals: Vitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = head_poll(store, vitals)
    publish(store, "web")

    def down(_: str) -> bytes:
        raise UnavailableError("half a minute, please")

    with monkeypatch.context() as patched:
        patched.setattr(store, "get_blob", down)
        with pytest.raises(OSError, match="half a minute"):
            poll("")
    assert poll("") is not None


# settings ------------------------------------------------------------------------------------------------------------
class Ended:
    """Takes the place of `os.kill`."""

    def __init__(self) -> None:
        self.signals: list[tuple[int, int]] = []
        self.came = threading.Event()

    def __call__(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        self.came.set()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    made = Ended()
    monkeypatch.setattr(os, "kill", made)
    return made


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A mounted Secret: files are links through `..data` into a folder that is replaced as a whole."""
    folder = tmp_path / "backends"
    (folder / "..1").mkdir(parents=True)
    (folder / "..1" / "rabbitmq-url").write_text("amqps://one")
    (folder / "..data").symlink_to("..1")
    (folder / "rabbitmq-url").symlink_to("..data/rabbitmq-url")
    return folder


def replace(mounted: Path, text: str) -> None:
    """As the kubelet does it."""
    number = f"..{len(list(mounted.iterdir()))}"
    (mounted / number).mkdir()
    (mounted / number / "rabbitmq-url").write_text(text)
    (mounted / "new").symlink_to(number)
    (mounted / "new").rename(mounted / "..data")


def test_a_process_ends_in_good_order_when_its_settings_change(mounted: Path, ended: Ended) -> None:
    end_when_changed(mounted, content(mounted), every=0.01)
    replace(mounted, "amqps://two")
    assert ended.came.wait(20)
    assert ended.signals == [(os.getpid(), signal.SIGTERM)]


def test_a_change_while_the_process_starts_is_not_missed(mounted: Path, ended: Ended) -> None:
    pod = Pod("pipeline", "shop", mounted, 0)
    assert (mounted / "rabbitmq-url").read_text() == "amqps://one"  # the settings are read
    replace(mounted, "amqps://two")
    end_when_changed(pod.backends, pod.settings, every=0.01)
    assert ended.came.wait(20)


def test_settings_that_were_written_again_as_they_are_end_nothing(mounted: Path, ended: Ended) -> None:
    looked = threading.Event()
    looks = iter(range(1000))
    real = Path.iterdir

    def counted(self: Path) -> Iterator[Path]:
        if self == mounted and next(looks) >= 5:
            looked.set()
        return iter(list(real(self)))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "iterdir", counted)
        end_when_changed(mounted, content(mounted), every=0.01)
        replace(mounted, "amqps://one")
        assert looked.wait(20)
    assert ended.signals == []
    replace(mounted, "amqps://two")
    assert ended.came.wait(20)


def test_a_folder_that_cannot_be_read_for_a_moment_ends_nothing(
    mounted: Path, ended: Ended, caplog: pytest.LogCaptureFixture
) -> None:
    end_when_changed(mounted, content(mounted), every=0.01)
    away = mounted.with_name("away")
    mounted.rename(away)
    until(lambda: "cannot be read" in caplog.text, seconds=20, what="the process to look", pause=0.01)
    away.rename(mounted)
    assert ended.signals == []
    replace(mounted, "amqps://two")
    assert ended.came.wait(20)
