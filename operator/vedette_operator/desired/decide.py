"""What is to be done with an object, by its metadata alone."""

from __future__ import annotations

import enum

from vedette_backends.cluster.protocol import Object
from vedette_operator import marks


class Action(enum.Enum):
    """What the operator does next with an object."""

    HOLD = "hold"
    """Leave it and what belongs to it as they are: the pause annotation is set."""
    GUARD = "guard"
    """Set the finalizer before anything is made outside Kubernetes for it, then reconcile."""
    RECONCILE = "reconcile"
    """Make the world as the object says."""
    FINISH = "finish"
    """It is being deleted: clean up outside Kubernetes, then remove the finalizer."""
    FORGET = "forget"
    """It is being deleted and waits for others, or for nobody: nothing is left to do."""


def decide(item: Object) -> Action:
    """The next action.

    Deleting goes before the pause: an object that is to go must not be stuck because somebody forgot the annotation,
    and the annotation cannot bring it back.
    """
    finalizers = item.manifest["metadata"].get("finalizers") or ()
    guarded = marks.FINALIZER in finalizers
    if marks.going(item):
        return Action.FINISH if guarded else Action.FORGET
    if marks.paused(item):
        return Action.HOLD
    if item.key.kind == "LogSource" and not guarded:
        return Action.GUARD
    return Action.RECONCILE
