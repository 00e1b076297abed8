"""A renewal step by step on a real API server: at no moment does it trust less than what the webhook serves."""

from __future__ import annotations

import base64
import datetime as dt
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from tests.servers import apiserver

from vedette_backends.cluster.kube_resources import KubernetesResources
from vedette_backends.cluster.kubernetes import connect
from vedette_backends.errors import UnavailableError
from vedette_operator import certificates
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import names
from vedette_operator.housekeeping import WEBHOOKS, Housekeeping

pytestmark = pytest.mark.slow

NAMESPACE = "vedette-system"
Shake = Callable[[Mapping[str, bytes], bytes, str], str]


class Release:
    """A release whose pods serve what the Secret holds at once; `fails` breaks the next write of a kind."""

    def __init__(self, resources: KubernetesResources, shake: Shake) -> None:
        self._resources = resources
        self._shake = shake
        self.served: Mapping[str, bytes] = {}
        self.fails = ""
        self.steps: list[str] = []
        self.config = OperatorConfig.model_validate(
            {"image": "i", "releaseName": f"r{secrets.token_hex(4)}", "releaseNamespace": NAMESPACE}
        )
        hook = {
            "name": "validate.vedette.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": self.config.webhook_service, "namespace": NAMESPACE}},
            "failurePolicy": "Ignore",
            "sideEffects": "None",
        }
        metadata = {"name": self.config.webhook_configuration}
        manifest = {"apiVersion": WEBHOOKS[0], "kind": WEBHOOKS[1], "metadata": metadata, "webhooks": [hook]}
        resources.apply(manifest, manager="helm")

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        return self._resources.get(api_version, kind, namespace, name)

    def list(self, *_: Any) -> list[dict[str, Any]]:
        return []

    def apply(self, manifest: Mapping[str, Any], *, manager: str, force: bool = True) -> dict[str, Any]:
        kind = manifest["kind"]
        if kind == self.fails:
            self.fails = ""
            raise UnavailableError("the API server is away")
        done = self._resources.apply(manifest, manager=manager, force=force)
        self.steps.append(kind)
        if kind == "Secret":
            self.served = certificates.decoded(done)  # no kubelet is quicker
        if self.served:
            assert self.trusted() == "", f"after {kind} was written"
        return done

    def trusted(self) -> str:
        """Why the API server refuses what the webhook serves; empty when it does not."""
        live = self._resources.get(*WEBHOOKS, "", self.config.webhook_configuration)
        assert live is not None
        bundle = base64.b64decode(live["webhooks"][0]["clientConfig"].get("caBundle") or "")
        if not bundle:
            return "it trusts nobody"
        host = certificates.service_hosts(self.config.webhook_service, NAMESPACE)[0]
        return self._shake(self.served, bundle, host)

    def look(self) -> Sequence[str]:
        """The operator begins and does its chores; what it wrote."""
        self.steps = []
        nothing: Any = SimpleNamespace(release=lambda _: [])
        Housekeeping(self.config, self, nothing, nothing, nothing, nothing, nothing).prepare()
        return self.steps

    def grow_old(self) -> None:
        """The certificate is one of eighty days ago."""
        then = dt.datetime.now(dt.UTC) - dt.timedelta(days=80)
        hosts = certificates.service_hosts(self.config.webhook_service, NAMESPACE)
        data = certificates.make(hosts, then)
        labels = names.labels("webhook")
        manifest = certificates.secret_manifest(self.config.webhook_secret, NAMESPACE, data, labels)
        live = self._resources.get(*WEBHOOKS, "", self.config.webhook_configuration)
        assert live is not None
        patch = certificates.ca_bundle_patch(live, data[certificates.BUNDLE])
        assert patch is not None
        self._resources.apply(patch, manager=names.MANAGER)
        self.apply(manifest, manager=names.MANAGER)

    def lose_secret(self) -> None:
        """Somebody deletes it; pods go on with what they have."""
        self._resources.delete("v1", "Secret", NAMESPACE, self.config.webhook_secret)

    def close(self) -> None:
        self._resources.delete(*WEBHOOKS, "", self.config.webhook_configuration)


@pytest.fixture
def release(tmp_path_factory: pytest.TempPathFactory, shake: Shake) -> Iterator[Release]:
    root = tmp_path_factory.getbasetemp()
    server = apiserver.shared(root.parent if "PYTEST_XDIST_WORKER" in os.environ else root)
    server.namespace(NAMESPACE)
    resources = KubernetesResources(connect(server.kubeconfig))
    made = Release(resources, shake)
    yield made
    made.close()
    resources.close()


def test_the_first_certificate_is_trusted_before_it_is_served(release: Release) -> None:
    assert release.look() == ["ValidatingWebhookConfiguration", "Secret"]
    assert release.trusted() == ""
    assert release.look() == []


def test_a_renewed_one_is_trusted_before_it_is_served_and_the_old_one_still(release: Release) -> None:
    release.grow_old()
    old = release.served
    assert release.look() == ["ValidatingWebhookConfiguration", "Secret"]
    assert release.served != old
    release.served = old  # a pod that is late
    assert release.trusted() == ""


def test_when_the_secret_is_lost_what_pods_still_serve_stays_trusted(release: Release) -> None:
    release.look()
    old = release.served
    release.lose_secret()
    assert release.look() == ["ValidatingWebhookConfiguration", "Secret"]
    release.served = old
    assert release.trusted() == ""


@pytest.mark.parametrize("kind", ["ValidatingWebhookConfiguration", "Secret"])
def test_a_renewal_that_ends_half_way_is_done_again(release: Release, kind: str) -> None:
    release.grow_old()
    old = release.served
    for _ in range(3):
        release.fails = kind
        with pytest.raises(UnavailableError):
            release.look()
        assert release.served == old
        assert release.trusted() == ""
    assert release.look() == ["ValidatingWebhookConfiguration", "Secret"]
    assert release.served != old
    assert release.look() == []
