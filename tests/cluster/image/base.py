"""The image's lowest layer: Debian's Python, C library and certificate authorities, unpacked from their packages.

No shell and no package manager are in it. Packages come from the machine's own apt, are unpacked and not installed, so
neither root nor a daemon is needed; what their installation scripts would do that matters is done here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

WANTED = ("python3-minimal", "libpython3-stdlib", "ca-certificates", "libstdc++6", "tzdata")
UNWANTED = (
    # What installs packages, and documentation.
    *("*debconf*", "dpkg", "perl*", "install-info", "gcc-*-base", "mailcap", "mime-support", "tar"),
    # Modules of Python that need half a system: NIS, line editing, the old database format.
    *("libnsl2", "libtirpc*", "libgssapi*", "libreadline*", "libdb5*", "readline-common"),
    # The command; the library has another name.
    "openssl",
)
USER = 65532

_PASSWD = f"root:x:0:0:root:/:/sbin/nologin\nvedette:x:{USER}:{USER}:Vedette:/tmp:/sbin/nologin\n"
_GROUP = f"root:x:0:\nvedette:x:{USER}:\n"
_BULK = ("usr/share/man", "usr/share/lintian", "usr/share/locale", "usr/share/bash-completion", "usr/share/info")


class ImageError(Exception):
    """The image cannot be made; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Base:
    """An unpacked root file system with its Python."""

    root: Path

    @property
    def python(self) -> str:
        """The interpreter's name, such as `python3.11`."""
        return max(path.name for path in (self.root / "usr" / "bin").glob("python3.*"))

    @property
    def packages(self) -> str:
        """Where the interpreter looks for what no Debian package brought."""
        return f"usr/local/lib/{self.python}/dist-packages"

    def compile(self, folder: Path, root: Path) -> None:
        """Write byte code for all modules below `folder`, which will be found at the same place below `root`.

        The image's own interpreter does it, started through the image's own loader: byte code belongs to a version, and
        the machine may have another.
        """
        libraries = [str(path) for path in (self.root / "usr/lib").glob("*-linux-gnu*")]
        command = [
            str(next((self.root / "usr" / "lib").glob("*/ld-linux-*.so.*"))),
            *("--library-path", ":".join(libraries)),
            str(self.root / "usr" / "bin" / self.python),
            # Its modification times are all the same in a layer, so byte code must not ask for them.
            # One process, so that the order is the same every time, and with it the bytes.
            *("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
            *("-s", str(root), "-p", "/", str(folder)),
        ]
        environment = {"PYTHONHOME": str(self.root / "usr"), "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
        subprocess.run(command, env=environment, check=True)


def unpack_base(root: Path, downloads: Path) -> Base:
    """Make a root file system in the empty folder `root`.

    Raises:
        ImageError: this machine has no apt, or no package lists.
    """
    for command in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(command) is None:
            raise ImageError(
                f"{command} is missing: without Debian's or Ubuntu's packages, build Containerfile instead"
            )
    downloads.mkdir(parents=True, exist_ok=True)
    names = closure()
    _call(["apt-get", "download", "--quiet", *names], downloads)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted(downloads.glob("*.deb")):
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as content:
            options = ["--keep-directory-symlink", "--no-same-owner", "--no-same-permissions"]
            subprocess.run(["tar", "-x", *options, "-C", str(root)], stdin=content.stdout, check=True)
        if content.returncode:
            raise ImageError(f"{package.name} cannot be unpacked")
    _finish(root)
    base = Base(root)
    base.compile(root / "usr" / "lib" / base.python, root)
    return base


def closure() -> list[str]:
    """WANTED and what it depends on, without UNWANTED."""
    found: list[str] = []
    waiting = list(WANTED)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.append(name)
        listed = _call(["apt-cache", "depends", "--important", name])
        needs = re.findall(r"^ +\|?(?:Pre)?Depends: ([^<\s]+)$", listed, re.MULTILINE)
        waiting += [need for need in needs if not any(fnmatch(need, pattern) for pattern in UNWANTED)]
    return sorted(found)


def _finish(root: Path) -> None:
    """What the packages' installation scripts would have done, and what a program expects of a system."""
    for name in _BULK:
        shutil.rmtree(root / name, ignore_errors=True)
    etc = root / "etc"
    authorities = etc / "ssl" / "certs" / "ca-certificates.crt"
    authorities.parent.mkdir(parents=True, exist_ok=True)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    authorities.write_bytes(b"".join(path.read_bytes() for path in certificates))
    library = root / "usr" / "lib" / "ssl"
    library.mkdir(exist_ok=True)
    (library / "cert.pem").symlink_to("/etc/ssl/certs/ca-certificates.crt")
    (etc / "passwd").write_text(_PASSWD)
    (etc / "group").write_text(_GROUP)
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    for name in ("tmp", "run", "proc", "sys", "dev", "scratch", "claims"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _call(command: Sequence[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(f"`{' '.join(command)}` failed; does `apt-get update` help?\n{done.stderr.strip()}")
    return done.stdout
