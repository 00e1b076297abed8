"""What is done with an object, by its metadata alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from vedette_backends.cluster.protocol import Key, Object
from vedette_operator.desired.decide import Action, decide
from vedette_operator.marks import FINALIZER, PAUSE

OTHER = "example.org/other"


@pytest.mark.parametrize(
    ("kind", "finalizers", "paused", "going", "action"),
    [
        pytest.param("LogSource", [], False, False, Action.GUARD, id="new"),
        pytest.param("LogSource", [OTHER], False, False, Action.GUARD, id="only others guard it"),
        pytest.param("LogSource", [FINALIZER], False, False, Action.RECONCILE, id="guarded"),
        pytest.param("LogSource", [FINALIZER], True, False, Action.HOLD, id="paused"),
        pytest.param("LogSource", [], True, False, Action.HOLD, id="paused before it was guarded"),
        pytest.param("LogSource", [OTHER, FINALIZER], False, True, Action.FINISH, id="deleted"),
        pytest.param("LogSource", [FINALIZER], True, True, Action.FINISH, id="deleted while paused"),
        pytest.param("LogSource", [OTHER], False, True, Action.FORGET, id="others still clean up"),
        pytest.param("AlertRule", [], False, False, Action.RECONCILE, id="nothing of it lives outside"),
        pytest.param("AlertRule", [OTHER], False, True, Action.FORGET, id="a deleted rule"),
        pytest.param("Incident", [], True, False, Action.HOLD, id="a paused incident"),
    ],
)
def test_deleting_goes_before_the_pause_and_a_finalizer_before_everything_else(
    kind: str, finalizers: Sequence[str], *, paused: bool, going: bool, action: Action
) -> None:
    metadata = {"name": "web", "namespace": "shop", "finalizers": list(finalizers)}
    if going:
        metadata["deletionTimestamp"] = "2026-11-22T10:00:00Z"
    manifest = {"metadata": {**metadata, "annotations": {PAUSE: "true" if paused else "false"}}, "spec": {}}
    assert decide(Object(Key(kind, "shop", "web"), manifest, {}, 1, 1)) is action
