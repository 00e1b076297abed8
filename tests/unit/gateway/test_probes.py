from __future__ import annotations

from typing import Any

import pytest

from vedette_workers.gateway.sources import digest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", "/"),
        ("GET", "/_license"),
        ("GET", "/_license?human=false"),
        ("GET", "/_xpack"),
        ("GET", "/_xpack/license"),
        ("GET", "/_cluster/health"),
        ("GET", "/_cat/health"),
        ("HEAD", "/_cat/health"),
        ("GET", "/_nodes/http"),
        ("GET", "/_nodes/_all/http"),
        ("HEAD", "/_index_template/filebeat-9.1.0"),
        ("GET", "/_index_template/filebeat-9.1.0"),
        ("PUT", "/_index_template/filebeat-9.1.0"),
        ("HEAD", "/_template/logstash"),
        ("PUT", "/_template/logstash"),
        ("GET", "/_component_template/x"),
        ("GET", "/_ilm/policy/filebeat"),
        ("PUT", "/_ilm/policy/filebeat"),
        ("GET", "/_ingest/pipeline/filebeat-pipeline"),
        ("PUT", "/_ingest/pipeline/filebeat-pipeline"),
        ("GET", "/_data_stream/filebeat-9.1.0"),
        ("PUT", "/_data_stream/filebeat-9.1.0"),
        ("HEAD", "/_alias/filebeat"),
        ("HEAD", "/logstash-2026.11.22"),
        ("PUT", "/logstash-2026.11.22"),
    ],
)
def test_what_shippers_ask_before_they_send_is_answered(client: Any, method: str, path: str) -> None:
    response = client.request(method, path)
    assert response.status_code == 200, response.text
    assert response.headers["x-elastic-product"] == "Elasticsearch"
    if method == "PUT":
        assert response.json()["acknowledged"] is True


def test_the_version_is_one_that_clients_of_eight_and_nine_accept(client: Any) -> None:
    told = client.get("/").json()
    assert told["version"]["number"].split(".")[0] == "9"
    assert told["version"]["build_flavor"] == "default"
    assert told["tagline"] == "You Know, for Search"


def test_the_licence_is_active_so_that_beats_go_on(client: Any) -> None:
    licence = client.get("/_license").json()["license"]
    assert (licence["type"], licence["status"]) == ("basic", "active")


@pytest.mark.parametrize("path", ["/", "/_license", "/_cluster/health", "/_index_template/x", "/_cat/health"])
def test_probes_ask_for_a_token_too(site: Any, path: str) -> None:
    with site.client("") as client:
        response = client.get(path)
    assert response.status_code == 401
    assert response.headers["x-elastic-product"] == "Elasticsearch"


@pytest.mark.parametrize("version", ["8", "9"])
def test_a_versioned_media_type_is_given_back(client: Any, version: str) -> None:
    accept = f"application/vnd.elasticsearch+json; compatible-with={version}"
    response = client.get("/", headers={"Accept": accept})
    assert response.headers["content-type"] == accept.replace("; ", ";")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere/at/all/of/it", 405),
        ("PUT", "/_unknown", 404),
        ("POST", "/_unknown/_doc", 404),
        ("DELETE", "/_index_template/x", 405),
        ("GET", "/_bulk", 405),
        ("GET", "/events", 405),
        ("DELETE", "/logs", 405),
    ],
)
def test_what_is_no_question_of_a_shipper_is_refused(client: Any, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["status"] == status


def test_mozdef_asks_for_the_status(site: Any) -> None:
    with site.client("") as client:
        response = client.get("/status")
    assert response.json()["status"] == "ok"


def test_metrics_may_ask_for_a_token(site: Any) -> None:
    with site.client("", metrics_token=digest("scrape").hex()) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer nonsense"}).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer scrape"}).status_code == 200
