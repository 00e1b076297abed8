"""The webhook's certificate, looked at by real TLS handshakes."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from vedette_operator import certificates
from vedette_operator.certificates import BUNDLE, CERTIFICATE, KEY, ca_bundle_patch, make, needs_renewal, service_hosts

HOSTS = service_hosts("vedette-webhook", "vedette-system")
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
GOOD = make(HOSTS, NOW)

Shake = Callable[[Mapping[str, bytes], bytes, str], str]


@pytest.mark.parametrize("host", HOSTS)
def test_api_servers_reach_the_service_by_each_of_its_names(shake: Shake, host: str) -> None:
    assert shake(GOOD, GOOD[BUNDLE], host) == ""


def test_another_name_is_refused(shake: Shake) -> None:
    assert "Hostname mismatch" in shake(GOOD, GOOD[BUNDLE], "vedette-webhook.other.svc")


def test_the_certificate_of_another_authority_is_refused(shake: Shake) -> None:
    assert "unable to get local issuer" in shake(GOOD, make(HOSTS, NOW)[BUNDLE], HOSTS[0])


def test_while_a_renewal_is_rolled_out_old_and_new_certificates_are_trusted(shake: Shake) -> None:
    second = make(HOSTS, NOW, GOOD)
    third = make(HOSTS, NOW, second)
    for served in (GOOD, second, third):
        assert shake(served, third[BUNDLE], HOSTS[0]) == ""
    fourth = make(HOSTS, NOW, third)
    assert shake(GOOD, fourth[BUNDLE], HOSTS[0]) != ""
    assert shake(third, fourth[BUNDLE], HOSTS[0]) == ""


def test_authorities_that_are_trusted_besides_stay_trusted_once(shake: Shake) -> None:
    lost = make(HOSTS, NOW)
    renewed = make(HOSTS, NOW, GOOD, GOOD[BUNDLE] + lost[BUNDLE])
    assert len(x509.load_pem_x509_certificates(renewed[BUNDLE])) == 3
    for served in (lost, GOOD, renewed):
        assert shake(served, renewed[BUNDLE], HOSTS[0]) == ""
    assert shake(GOOD, make(HOSTS, NOW, GOOD, b"nonsense")[BUNDLE], HOSTS[0]) == ""


@pytest.mark.parametrize(
    ("webhooks", "found"),
    [
        ([], b""),
        ([{"name": "a"}, {"name": "b", "clientConfig": {"caBundle": ""}}], b""),
        ([{"clientConfig": {"caBundle": "eA=="}}, {"clientConfig": {"caBundle": "eA=="}}], b"x"),
        ([{"clientConfig": {"caBundle": "not base64"}}], b""),
    ],
)
def test_what_a_configuration_trusts_is_read(webhooks: list[dict[str, Any]], found: bytes) -> None:
    assert certificates.trusted({"webhooks": webhooks}) == found


def test_an_authority_that_has_ended_is_not_kept() -> None:
    later = NOW + certificates.AUTHORITY_LIFE + DAY
    assert len(x509.load_pem_x509_certificates(make(HOSTS, later, GOOD)[BUNDLE])) == 1


def test_the_key_of_the_authority_is_kept_nowhere() -> None:
    assert GOOD.keys() == {CERTIFICATE, KEY, BUNDLE}
    assert GOOD[KEY].count(b"PRIVATE KEY") == 2
    certificate = x509.load_pem_x509_certificate(GOOD[CERTIFICATE])
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@given(st.integers(0, 90 * 24))
def test_it_is_renewed_when_two_thirds_of_its_time_have_passed(hours: int) -> None:
    reason = needs_renewal(GOOD, NOW + dt.timedelta(hours=hours), HOSTS)
    assert (reason is None) == (hours < 60 * 24), reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({CERTIFICATE: b""}, "has no tls.crt"),
        ({KEY: b""}, "has no tls.key"),
        ({BUNDLE: b""}, "has no ca.crt"),
        ({CERTIFICATE: b"nonsense"}, "cannot be used"),
        ({KEY: b"nonsense"}, "cannot be used"),
        ({KEY: make(HOSTS, NOW)[KEY]}, "belongs to another"),
        ({BUNDLE: make(HOSTS, NOW)[BUNDLE]}, "cannot be used"),
        (make(HOSTS[:1], NOW), "it is not for vedette-webhook.vedette-system"),
        (make(HOSTS, NOW + 2 * DAY), "not valid before"),
        (make(HOSTS, NOW - 91 * DAY), "it ended"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_serve_is_made_anew(change: Mapping[str, bytes], reason: str) -> None:
    assert reason in str(needs_renewal({**GOOD, **change}, NOW, HOSTS))


def test_no_secret_is_a_reason_and_a_good_one_is_none() -> None:
    assert needs_renewal(None, NOW, HOSTS)
    assert needs_renewal(GOOD, NOW, HOSTS) is None
    assert needs_renewal(make(HOSTS, NOW, {BUNDLE: b"nonsense"}), NOW, HOSTS) is None


@given(st.dictionaries(st.sampled_from([CERTIFICATE, KEY, BUNDLE]), st.binary(max_size=200)))
def test_whatever_a_secret_holds_is_judged(data: dict[str, bytes]) -> None:
    assert needs_renewal({**GOOD, **data}, NOW, HOSTS) is None or data
    assert needs_renewal(make(HOSTS, NOW, data), NOW, HOSTS) is None


def test_the_secret_comes_back_from_the_api_as_it_was_made() -> None:
    manifest = certificates.secret_manifest("v-webhook-tls", "vedette-system", GOOD, {"app.kubernetes.io/name": "v"})
    assert manifest["type"] == "kubernetes.io/tls"
    assert certificates.decoded(manifest) == GOOD
    assert certificates.decoded({"data": {"x": "not base64!"}}) == {}
    assert certificates.decoded({}) == {}


def test_the_webhook_configuration_is_patched_only_when_it_differs() -> None:
    webhooks: list[dict[str, Any]] = [
        {"name": "rules.vedette.dev", "clientConfig": {"service": {"name": "w"}}, "sideEffects": "None"},
        {"name": "sources.vedette.dev", "clientConfig": {"service": {"name": "w"}}},
    ]
    configuration = {"metadata": {"name": "vedette", "resourceVersion": "1"}, "webhooks": webhooks}
    patch = ca_bundle_patch(configuration, GOOD[BUNDLE])
    wanted = base64.b64encode(GOOD[BUNDLE]).decode()
    assert patch == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "vedette"},
        "webhooks": [
            {"name": "rules.vedette.dev", "clientConfig": {"caBundle": wanted}},
            {"name": "sources.vedette.dev", "clientConfig": {"caBundle": wanted}},
        ],
    }
    for webhook in webhooks:
        webhook["clientConfig"]["caBundle"] = wanted
    assert ca_bundle_patch(configuration, GOOD[BUNDLE]) is None
