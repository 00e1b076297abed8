"""Places where a cluster of each kind lives; the Kubernetes API becomes a second parameter."""

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests import helpers

from vedette_backends.cluster.folder import FolderSync, SyncResult
from vedette_backends.cluster.local import LocalCluster


@dataclass
class Place:
    """Opens clusters that share their objects, as other processes do."""

    path: Path
    clusters: list[LocalCluster] = field(default_factory=list)

    def open(self) -> LocalCluster:
        cluster = LocalCluster(self.path)
        self.clusters.append(cluster)
        return cluster

    def close(self) -> None:
        for cluster in self.clusters:
            cluster.close()


@pytest.fixture(params=["local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    assert request.param == "local"
    place = Place(tmp_path / "data" / "cluster.db")
    yield place
    place.close()


@pytest.fixture
def cluster(place: Place) -> LocalCluster:
    return place.open()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of manifests."""
    path = tmp_path / "manifests"
    path.mkdir()
    return path


@pytest.fixture
def write(folder: Path) -> Callable[..., None]:
    """Writes a file of some documents, given as text, and makes its folders."""

    def write_file(name: str, *documents: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\n".join(documents))

    return write_file


@pytest.fixture
def sync(folder: Path, cluster: LocalCluster) -> Callable[[], SyncResult]:
    """One look at the folder, as a new process does it."""
    return lambda: FolderSync(folder, cluster).sync()


@pytest.fixture
def following(folder: Path, cluster: LocalCluster) -> Iterator[Path]:
    """The folder, followed by a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=FolderSync(folder, cluster).run, args=(stop,))
    thread.start()
    yield folder
    stop.set()
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition, with a deadline."""

    return functools.partial(helpers.until, seconds=30, what="the condition", pause=0.005)
