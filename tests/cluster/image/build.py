"""Vedette's image in three layers: Debian with Python, the pinned dependencies, Vedette itself.

The lower two are kept in a cache folder under a hash of what they are made from, so that a change of the code costs the
top layer: a wheel of the working tree, byte code, and a tar file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.image.base import UNWANTED, USER, WANTED, Base, unpack_base
from tests.cluster.image.oci import Config, architecture, write_image, write_layer

ROOT = Path(__file__).resolve().parents[3]
NAME = "localhost/vedette:dev"
KEPT = 3
"""So many old layers of a kind stay, for whoever goes back and forth between branches."""

_ENTRY = """\
#!/usr/bin/{python}
import sys

from vedette_cli.main import main

# Children that judge rules load this file again.
if __name__ == "__main__":
    sys.exit(main())
"""
_CONFIG = Config(
    entrypoint=["/usr/local/bin/vedette"],
    user=f"{USER}:{USER}",
    environment={
        "PATH": "/usr/local/bin:/usr/bin",
        "LANG": "C.UTF-8",
        "HOME": "/tmp",
        # The file system is read-only, and log lines are wanted when they are written.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    },
    labels={"org.opencontainers.image.title": "Vedette", "org.opencontainers.image.licenses": "Apache-2.0"},
)
Say = Callable[[str], None]


def image_cache() -> Path:
    """Where layers are kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vedette" / "image"


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds images, with its cache. `say` hears of what takes long."""

    cache: Path
    say: Say

    def build(self, target: Path, *, fresh: bool = False) -> Path:
        """Write the image of the working tree to `target`; `fresh` asks for Debian's packages of today.

        Raises:
            ImageError: this machine cannot make the lowest layer.
            subprocess.CalledProcessError: a tool failed, and said why on standard error.
        """
        self.cache.mkdir(parents=True, exist_ok=True)
        with self._alone():
            base, base_layer = self._base(fresh=fresh)
            layers = [base_layer, self._dependencies(base), self._application(base)]
            self._forget_old()
            return write_image(target, NAME, layers, _CONFIG)

    def _base(self, *, fresh: bool) -> tuple[Base, Path]:
        release = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
        key = _hash(release, repr((WANTED, UNWANTED)), architecture(), _source("base.py"), _source("oci.py"))
        root, layer = self.cache / f"base-{key}", self.cache / f"base-{key}.tar"
        if fresh:
            layer.unlink(missing_ok=True)
        if not layer.exists():
            with self._timed("Debian with Python"), self._folder() as folder:
                shutil.rmtree(root, ignore_errors=True)
                (folder / "root").mkdir()
                unpack_base(folder / "root", folder / "packages")
                (folder / "root").rename(root)
                write_layer(root, layer)
        layer.touch()
        return Base(root), layer

    def _dependencies(self, base: Base) -> Path:
        pinned = ROOT / "requirements" / "run.txt"
        key = _hash(pinned.read_text(), base.root.name, _source("build.py"))
        layer = self.cache / f"dependencies-{key}.tar"
        if not layer.exists():
            with self._timed("dependencies"), self._folder() as folder:
                self._install(base, folder, "--require-hashes", "--requirements", str(pinned))
                write_layer(folder, layer)
        layer.touch()
        return layer

    def _application(self, base: Base) -> Path:
        with self._folder() as folder:
            wheels = folder / "wheels"
            wheel = _wheel(wheels)
            key = _hash(hashlib.sha256(wheel.read_bytes()).hexdigest(), base.root.name, _source("build.py"))
            layer = self.cache / f"application-{key}.tar"
            if not layer.exists():
                with self._timed("Vedette"):
                    top = folder / "top"
                    self._install(base, top, str(wheel))
                    entry = top / "usr" / "local" / "bin" / "vedette"
                    entry.parent.mkdir(parents=True)
                    entry.write_text(_ENTRY.format(python=base.python))
                    entry.chmod(0o755)
                    write_layer(top, layer)
        layer.touch()
        return layer

    def _install(self, base: Base, root: Path, *what: str) -> None:
        """Install packages below `root` at the place where the image's Python looks, with byte code."""
        packages = root / base.packages
        packages.mkdir(parents=True)
        version = base.python.removeprefix("python")
        command = [_uv(), "pip", "install", "--quiet", "--no-deps", "--link-mode", "copy", "--python-version", version]
        subprocess.run([*command, "--target", str(packages), *what], cwd=ROOT, check=True)
        # Commands of the dependencies, and notes on where a wheel lay on this machine.
        shutil.rmtree(packages / "bin", ignore_errors=True)
        (packages / ".lock").unlink(missing_ok=True)
        for note in ("direct_url.json", "uv_cache.json"):
            for path in packages.glob(f"*.dist-info/{note}"):
                path.unlink()
        base.compile(packages, root)

    def _forget_old(self) -> None:
        for kind in ("base", "dependencies", "application"):
            layers = sorted(self.cache.glob(f"{kind}-*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
            for layer in layers[KEPT:]:
                layer.unlink()
                shutil.rmtree(layer.with_suffix(""), ignore_errors=True)

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self.say(f"layer of {what} …")
        began = time.monotonic()
        yield
        self.say(f"layer of {what}: {time.monotonic() - began:.1f} s")

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.cache, prefix="making-") as folder:
            yield Path(folder)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _wheel(folder: Path) -> Path:
    command = [_uv(), "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(folder), str(ROOT)]
    environment = os.environ | {"VIRTUAL_ENV": str(ROOT / ".venv")}
    subprocess.run([*command, "--python", str(ROOT / ".venv/bin/python")], env=environment, check=True)
    return next(folder.glob("*.whl"))


def _uv() -> str:
    own = ROOT / ".venv" / "bin" / "uv"
    return str(own) if own.exists() else shutil.which("uv") or "uv"


def _source(name: str) -> str:
    """Layers change when the code that makes them does."""
    return (Path(__file__).parent / name).read_text()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
