"""The serving certificate in a mounted Secret, and its renewal under a running server.

The kubelet writes a new version beside the old one and turns the link `..data` to it in one step; no file that was open
changes, and a watch on it sees nothing. So the files are looked at once a second, through the link.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509

log = logging.getLogger(__name__)

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
EVERY: Final = 1.0
_REMIND: Final = 30.0

Mark = tuple[tuple[int, int, int], ...]


class Keeper:
    """Keeps an SSLContext at the newest certificate of a folder.

    Args:
        folder: with `tls.crt` and `tls.key`, PEM.
        loaded: called with the certificate's end, seconds since the epoch, when one was loaded; with None when the
            newest one cannot be used, and the last good one stays.
    """

    def __init__(self, folder: Path, loaded: Callable[[float | None], None] = lambda _: None) -> None:
        self._folder = folder
        self._loaded = loaded
        self._mark: Mark = ()
        self._failed: Mark = ()
        self.context = _context()

    def wait(self, stop: threading.Event, every: float = EVERY) -> bool:
        """Return True when there is a certificate that can be used, False when `stop` was set before."""
        reminded = float("-inf")
        while not self.refresh():
            if time.monotonic() - reminded >= _REMIND:
                reminded = time.monotonic()
                log.info("waiting for a usable %s and %s in %s", CERTIFICATE, KEY, self._folder)
            if stop.wait(every):
                return False
        return True

    async def follow(self, every: float = EVERY) -> None:
        """Load every new version, until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.refresh()

    def refresh(self) -> bool:
        """Load the files if they are others than before; False when there is nothing that was ever loaded.

        Connections that stand keep the certificate that they began with.
        """
        mark = self._look()
        if not mark or mark == self._mark:
            return bool(self._mark)
        try:
            end = self._load()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            # A half-written pair mends itself: it is looked at again, told about once per version.
            if mark != self._failed:
                log.warning("the certificate in %s cannot be used, the last good one stays: %s", self._folder, error)
                self._loaded(None)
            self._failed = mark
            return bool(self._mark)
        self._mark = mark
        log.info("loaded the certificate in %s", self._folder)
        self._loaded(end)
        return True

    def _load(self) -> float:
        certificate, key = self._folder / CERTIFICATE, self._folder / KEY
        end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
        # A context that failed to load a pair has lost the one before; so another one tries it first.
        _context().load_cert_chain(certificate, key)
        self.context.load_cert_chain(certificate, key)
        return end

    def _look(self) -> Mark:
        try:
            stats = [(self._folder / name).stat() for name in (CERTIFICATE, KEY)]
        except OSError:
            return ()
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context
