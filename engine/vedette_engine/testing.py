"""The result of one test that stands inside a manifest, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TestResult:
    """What became of one test.

    Attributes:
        name: as its author named it.
        passed: None: not run, `message` says why.
        message: what differs; empty when it passed.
        path: where the test stands in the manifest, `spec.tests[2]`.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    passed: bool | None
    message: str = ""
    path: str = ""
