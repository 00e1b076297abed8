"""What a cluster needs beside bundles: users, keys, templates, workers. Under `vedette up` there is nothing to make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vedette_backends.cluster.protocol import Object
from vedette_operator.space import Space


class Provisioner(Protocol):
    """Makes what lives around a namespace's objects. Called by the control loop, in its thread."""

    def prepare(self, namespace: str) -> None:
        """Before anything is read or written in the namespace's store and broker; raises BackendError."""

    def ensure(self, space: Space) -> None:
        """Make what is missing or differs, and set TopologyReady, TemplateReady and Available of the sources.

        Raises nothing that a backend's failure causes: that is a condition.
        """

    def finish(self, item: Object, others: Sequence[Object], *, left: bool) -> bool:
        """Clean up for an object that is being deleted and let it go; whether that is done.

        Called again until it is.

        Args:
            item: the object.
            others: the namespace's other sources.
            left: whether every worker that lives has let go of it.

        Raises:
            BackendError: it cannot be done now.
        """


class NoProvisioner:
    """The embedded mode's."""

    def prepare(self, namespace: str) -> None:
        """Nothing to make."""

    def ensure(self, space: Space) -> None:
        """Nothing to make."""

    def finish(self, item: Object, others: Sequence[Object], *, left: bool) -> bool:  # noqa: ARG002 # the protocol's
        """Nothing to clean up."""
        return True
