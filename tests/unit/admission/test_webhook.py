"""The webhook as a process with real TLS, asked as an API server asks."""

from __future__ import annotations

import concurrent.futures
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.helpers import until
from tests.servers.pki import Authority

from vedette_operator.admission.tls import Keeper


def test_a_good_rule_is_allowed_without_a_word(webhook: Any, make: SimpleNamespace) -> None:
    response = webhook.ask(make.rule())
    assert response.keys() == {"uid", "allowed"}
    assert response["allowed"] is True


def test_a_rule_whose_test_fails_is_refused_and_kubectl_can_print_why(webhook: Any, make: SimpleNamespace) -> None:
    response = webhook.ask(make.rule(alerts=2), dryRun=True)
    assert response["allowed"] is False
    assert response["status"] == {
        "code": 422,
        "message": "AlertRule shop/web: spec.tests[0].expect.alerts: "
        "test 'it fires' failed: raised 1 alert, expected 2",
    }


def test_a_broken_rule_can_be_deleted_and_finalized(webhook: Any, make: SimpleNamespace) -> None:
    broken = make.rule(sigma="title: [")
    assert webhook.ask(broken, "DELETE", old=broken)["allowed"]
    dying = {**broken, "metadata": {**broken["metadata"], "deletionTimestamp": "2026-11-22T10:00:00Z"}}
    assert webhook.ask({**dying, "spec": {}}, "UPDATE", old=dying)["allowed"]
    assert not webhook.ask(broken)["allowed"]


def test_all_kinds_are_judged(webhook: Any, make: SimpleNamespace) -> None:
    source = make.obj("LogSource", {"input": {"http": {"tokenSecretRef": {"name": "t", "key": "k"}}}, "format": "nope"})
    for manifest in (source, make.obj("Enrichment", {"order": "x"}), make.obj("Incident", {"title": ""})):
        response = webhook.ask(manifest)
        assert not response["allowed"], manifest["kind"]
        assert manifest["kind"] in response["status"]["message"]


def test_what_is_no_review_is_a_bad_request_and_no_fault(webhook: Any) -> None:
    for body in (b"", b"{}", b"[1", b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}'):
        assert webhook.client.post("/validate", content=body).status_code == 400
    large = webhook.client.post("/validate", content=b"x" * (9 << 20))
    assert large.status_code == 400
    assert "8 MiB" in large.text
    assert webhook.client.get("/livez").status_code == 200


def test_an_endless_rule_is_let_through_with_a_warning_in_the_api_servers_own_time(
    webhook: Any, make: SimpleNamespace
) -> None:
    response = webhook.ask(make.endless_rule(), patience=1)
    assert response["allowed"] is True
    assert "longer than 0.8 s; the operator decides" in response["warnings"][0]
    assert webhook.ask(make.rule()).keys() == {"uid", "allowed"}


def test_metrics_count_outcomes(webhook: Any, make: SimpleNamespace) -> None:
    webhook.ask(make.rule())
    webhook.ask(make.rule(alerts=2))
    webhook.ask(make.rule(), "DELETE")
    text = webhook.client.get("/metrics").text
    for operation, outcome in (("CREATE", "accepted"), ("CREATE", "refused"), ("DELETE", "passed")):
        line = f'vedette_admission_reviews_total{{kind="AlertRule",operation="{operation}",outcome="{outcome}"}}'
        assert line in text
    assert "vedette_admission_certificate_expires_seconds 1" in text


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    assert Keeper(tmp_path).context.minimum_version == ssl.TLSVersion.TLSv1_2


def _served(port: int, authority: Authority) -> str:
    """Serial number of the certificate that a client sees."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        certificate = secure.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_the_server_waits_for_its_certificate_and_takes_a_new_one_without_a_restart(
    run: Callable[[], Any], make: SimpleNamespace, authority: Authority, tmp_path: Path
) -> None:
    webhook = run()
    until(lambda: "waiting for a usable tls.crt" in webhook.log.read_text(), seconds=30, what="the first log line")
    make.install(authority, tmp_path / "cert", "first")
    until(webhook.ready, seconds=60, what="the webhook")
    first = _served(webhook.port, authority)

    # A version that cannot be used: the key is another certificate's. The last good one stays.
    version = tmp_path / "cert" / "..broken"
    version.mkdir()
    version.joinpath("tls.crt").write_bytes(authority.server("a", "localhost").certificate.read_bytes())
    version.joinpath("tls.key").write_bytes(authority.server("b", "localhost").key.read_bytes())
    tmp_path.joinpath("cert", "..data_tmp").symlink_to("..broken")
    tmp_path.joinpath("cert", "..data_tmp").rename(tmp_path / "cert" / "..data")
    until(lambda: "the last good one stays" in webhook.log.read_text(), seconds=30, what="the complaint")
    assert _served(webhook.port, authority) == first

    make.install(authority, tmp_path / "cert", "second")
    until(lambda: _served(webhook.port, authority) != first, seconds=30, what="the new certificate")
    assert webhook.ask(make.rule())["allowed"]  # over a connection that stood before
    assert 'loads_total{result="failed"} 1.0' in webhook.client.get("/metrics").text
    assert webhook.stop() == 0


@pytest.mark.slow
def test_a_stop_answers_what_was_asked(
    run: Callable[[], Any], make: SimpleNamespace, authority: Authority, tmp_path: Path
) -> None:
    make.install(authority, tmp_path / "cert", "only")
    webhook = run()
    until(webhook.ready, seconds=60, what="the webhook")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(webhook.ask, make.endless_rule(), patience=3)
        until(lambda: "in_flight 1.0" in webhook.client.get("/metrics").text, seconds=30, what="the judgement to begin")
        webhook.process.terminate()
        assert "the operator decides" in asked.result()["warnings"][0]
    assert webhook.stop() == 0


def test_a_stop_before_there_is_a_certificate_ends_at_once(run: Callable[[], Any]) -> None:
    webhook = run()
    until(lambda: "waiting for a usable" in webhook.log.read_text(), seconds=30, what="the first log line")
    assert webhook.stop() == 0
