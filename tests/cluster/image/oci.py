"""Writes container images without a daemon: an OCI image layout in a tar file, which `ctr images import` takes.

Source: https://github.com/opencontainers/image-spec (image-layout.md, config.md, layer.md). The same layers make the
same bytes, whenever and wherever they are written.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """This machine's, as images and Debian call it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


@dataclass(frozen=True, slots=True)
class Config:
    """What a container of the image runs, as whom, and with which environment."""

    entrypoint: Sequence[str]
    user: str = "65532:65532"
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def render(self, layers: Sequence[str]) -> dict[str, Any]:
        """The image's configuration for layers with these digests."""
        return {
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": list(self.entrypoint),
                "User": self.user,
                "WorkingDir": "/",
                "Env": [f"{name}={value}" for name, value in self.environment.items()],
                "Labels": dict(self.labels),
            },
            "rootfs": {"type": "layers", "diff_ids": list(layers)},
        }


def write_layer(folder: Path, target: Path) -> Path:
    """Pack a folder's contents as a layer that depends on names, modes and contents only."""
    fresh = target.with_name(f".new-{target.name}")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=_anonymous)
    fresh.rename(target)
    return target


def write_image(target: Path, name: str, layers: Sequence[Path], config: Config) -> Path:
    """Write the image file.

    Args:
        target: the tar file to write; replaced in one step when it is complete.
        name: with its tag, such as `localhost/vedette:dev`.
        layers: uncompressed tar files, the lowest first.
        config: what to run.
    """
    digests = [_digest(layer) for layer in layers]
    config_blob = _json(config.render(digests))
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _descriptor(config_blob, "config.v1+json"),
        "layers": [
            {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": digest, "size": layer.stat().st_size}
            for layer, digest in zip(layers, digests, strict=True)
        ],
    }
    manifest_blob = _json(manifest)
    entry = _descriptor(manifest_blob, "manifest.v1+json") | {
        "platform": {"architecture": architecture(), "os": "linux"},
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]},
    }
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": [entry]}
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".new-{target.name}")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as tar:
        _put(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _put(tar, "index.json", _json(index))
        for blob in (config_blob, manifest_blob):
            _put(tar, _blob_path(_digest_of(blob)), blob)
        # Two layers may be the same bytes; a blob stands there once.
        for digest, layer in dict(zip(digests, layers, strict=True)).items():
            with layer.open("rb") as content:
                entry_info = tarfile.TarInfo(_blob_path(digest))
                entry_info.size = layer.stat().st_size
                tar.addfile(entry_info, content)
    fresh.rename(target)
    return target


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode &= ~0o022
    return entry


def _put(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _descriptor(blob: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": f"{MEDIA}.{kind}", "digest": _digest_of(blob), "size": len(blob)}


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _digest_of(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
