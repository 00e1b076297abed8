"""Fixtures that all tests share."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test judges time, and a busy machine is no failure. On CI the same examples run every time: what is found by chance
# is found on somebody's machine, with the seed to show it again.
settings.register_profile(
    "vedette",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("vedette")

# What several folders share: one cluster for all, programs of Debian's, the browser.
pytest_plugins = ("tests.cluster.fixtures", "tests.cluster.release", "tests.shippers", "tests.chromium")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real events with expected results, beside the project; absent on a user's machine."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here: these events are not part of the project")
    return SHARED


@pytest.fixture
def free_port() -> int:
    """A port of loopback that was free just now, and so was the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
        return port
