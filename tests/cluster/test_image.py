"""Images as files, without a node; and that both ways to build ours agree."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.image import build
from tests.cluster.image.oci import Config, write_image, write_layer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "usr" / "bin").mkdir(parents=True)
    (folder / "usr" / "bin" / "hello").write_text("#!/bin/true\n")
    (folder / "usr" / "bin" / "hello").chmod(0o775)
    (folder / "bin").symlink_to("usr/bin")
    return folder


def blobs(image: Path) -> dict[str, bytes]:
    with tarfile.open(image) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr] # only files


def test_a_layer_knows_neither_times_nor_owners(tree: Path, tmp_path: Path) -> None:
    first = write_layer(tree, tmp_path / "first.tar").read_bytes()
    for path in tree.rglob("*"):
        path.touch()
    assert write_layer(tree, tmp_path / "second.tar").read_bytes() == first
    with tarfile.open(tmp_path / "first.tar") as tar:
        entries = {entry.name: entry for entry in tar}
    assert sorted(entries) == ["bin", "usr", "usr/bin", "usr/bin/hello"]
    assert entries["bin"].issym()
    assert oct(entries["usr/bin/hello"].mode) == "0o755"
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}


def test_every_digest_in_an_image_is_that_of_a_blob_in_it(tree: Path, tmp_path: Path) -> None:
    layer = write_layer(tree, tmp_path / "layer.tar")
    image = write_image(tmp_path / "image.tar", "localhost/hello:1", [layer, layer], Config(["/usr/bin/hello"]))
    found = blobs(image)
    for name, content in found.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"

    def blob(descriptor: dict[str, Any]) -> bytes:
        content = found["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
        assert len(content) == descriptor["size"]
        return content

    (entry,) = json.loads(found["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/hello:1"
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    assert [blob(each) for each in manifest["layers"]] == [layer.read_bytes()] * 2
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    assert config["config"]["Entrypoint"] == ["/usr/bin/hello"]
    assert config["config"]["User"] == "65532:65532"


def test_a_failed_image_leaves_the_old_one(tree: Path, tmp_path: Path) -> None:
    layer = write_layer(tree, tmp_path / "layer.tar")
    image = write_image(tmp_path / "image.tar", "localhost/hello:1", [layer], Config(["/usr/bin/hello"]))
    before = image.read_bytes()
    with pytest.raises(FileNotFoundError):
        write_image(image, "localhost/hello:1", [tmp_path / "missing.tar"], Config(["/usr/bin/hello"]))
    assert image.read_bytes() == before


def test_the_containerfile_makes_the_same_image_as_our_own_builder() -> None:
    text = (ROOT / "Containerfile").read_text()
    final = dict(line.split(" ", 1) for line in text[text.rindex("\nFROM ") :].strip().splitlines())
    ours = build._CONFIG
    assert final["ENTRYPOINT"] == json.dumps(ours.entrypoint)
    assert final["USER"] == ours.user
    variables = {name: value for name, value in ours.environment.items() if name != "PATH"}
    assert final["ENV"] == " ".join(f"{name}={value}" for name, value in variables.items())


def test_the_containerfile_copies_all_packages_and_nothing_that_is_not_there() -> None:
    text = (ROOT / "Containerfile").read_text()
    copied = {
        source for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for source in line.split()[:-1]
    }
    assert not [source for source in copied if not (ROOT / source).exists()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package.split("/")[0] for package in packages} <= copied
