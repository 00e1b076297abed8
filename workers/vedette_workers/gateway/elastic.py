"""What Elasticsearch's clients ask before and beside sending: version, licence, templates, health.

Nothing here stores anything. A template, pipeline, policy or alias that a shipper looks for exists, so it does not
upload its own; one that uploads regardless is told that this worked. All of it asks for a valid token, as
Elasticsearch does.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vedette_workers.gateway.answers import PRODUCT, elastic, elastic_refusal, error_body
from vedette_workers.gateway.errors import Refusal
from vedette_workers.gateway.gateway import Gateway

_CLUSTER = "vedette"
_NODE = "vedette-gateway"
_UUID = "ZGV0ZWN0aW9uLWdhdGV3YXk"
_LICENSE = {"uid": "00000000-0000-0000-0000-000000000000", "type": "basic", "mode": "basic", "status": "active"}


class Probes:
    """Endpoints, each a question that some shipper asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def routes(self) -> list[Route]:
        """In the order in which they are tried; the catch-alls for index names come last."""
        known = ["GET", "HEAD", "PUT", "POST"]
        named = {
            "/_index_template": self._index_template,
            "/_component_template": self._component_template,
            "/_template": self._keyed(
                {"index_patterns": ["*"], "order": 0, "settings": {}, "mappings": {}, "aliases": {}}
            ),
            "/_ilm/policy": self._keyed({"version": 1, "policy": {"phases": {}}}),
            "/_ingest/pipeline": self._keyed({"processors": []}),
            "/_data_stream": self._data_stream,
            "/_alias": self._keyed({"aliases": {}}),
        }
        routes = [
            Route("/", self._guarded(self._root), methods=["GET", "HEAD"]),
            Route("/_license", self._guarded(self._license), methods=["GET", "HEAD"]),
            Route("/_xpack", self._guarded(self._xpack), methods=["GET", "HEAD"]),
            Route("/_xpack/license", self._guarded(self._license), methods=["GET", "HEAD"]),
            Route("/_cluster/health", self._guarded(self._health), methods=["GET", "HEAD"]),
            Route("/_cluster/health/{name}", self._guarded(self._health), methods=["GET", "HEAD"]),
            Route("/_cat/{what:path}", self._guarded(self._cat), methods=["GET", "HEAD"]),
            Route("/_nodes", self._guarded(self._nodes), methods=["GET", "HEAD"]),
            Route("/_nodes/{what:path}", self._guarded(self._nodes), methods=["GET", "HEAD"]),
        ]
        for path, answer in named.items():
            endpoint = self._guarded(answer)
            routes.append(Route(path, endpoint, methods=["GET", "HEAD"]))
            routes.append(Route(path + "/{name}", endpoint, methods=known))
        return routes

    def index_routes(self) -> list[Route]:
        """Questions about an index; they match any name, so they come after every other route."""
        return [Route("/{name}", self._guarded(self._index), methods=["HEAD", "PUT"])]

    def _guarded(self, answer: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            response = respond(request)
            self._gateway.metrics.add("requests_total", "probe", str(response.status_code))
            return response

        def respond(request: Request) -> Response:
            try:
                self._gateway.authenticate(request)
            except Refusal as refusal:
                return elastic_refusal(request, refusal)
            upload = request.method in ("PUT", "POST") and answer != self._index
            content = {"acknowledged": True} if upload else answer(request)
            if isinstance(content, Response):
                return content
            return elastic(request, content)

        return endpoint

    def _keyed(self, content: dict[str, Any]) -> Any:
        return lambda request: {_name(request): content}

    def _root(self, _request: Request) -> dict[str, Any]:
        return {
            "name": _NODE,
            "cluster_name": _CLUSTER,
            "cluster_uuid": _UUID,
            "version": {
                "number": self._gateway.settings.elasticsearch_version,
                "build_flavor": "default",
                "build_type": "tar",
                "build_hash": "0" * 40,
                "build_date": "2025-01-01T00:00:00.000000000Z",
                "build_snapshot": False,
                "lucene_version": "10.2.2",
                "minimum_wire_compatibility_version": "8.18.0",
                "minimum_index_compatibility_version": "8.0.0",
            },
            "tagline": "You Know, for Search",
        }

    def _license(self, _request: Request) -> dict[str, Any]:
        return {"license": _LICENSE | {"issued_to": _CLUSTER, "issuer": _CLUSTER, "max_nodes": 1000}}

    def _xpack(self, _request: Request) -> dict[str, Any]:
        feature = {"available": True, "enabled": True}
        names = ("ilm", "data_streams", "security", "monitoring")
        features = {name: feature | ({"enabled": False} if name == "monitoring" else {}) for name in names}
        return {"build": {"hash": "0" * 40}, "license": _LICENSE, "features": features}

    def _health(self, _request: Request) -> dict[str, Any]:
        return {
            "cluster_name": _CLUSTER,
            "status": "red" if self._gateway.stopping else "green",
            "timed_out": False,
            "number_of_nodes": 1,
            "number_of_data_nodes": 1,
            "active_primary_shards": 1,
            "active_shards": 1,
            "relocating_shards": 0,
            "initializing_shards": 0,
            "unassigned_shards": 0,
        }

    def _cat(self, request: Request) -> Response:
        text = f"{_CLUSTER} green 1 1\n" if request.path_params["what"].startswith("health") else ""
        return PlainTextResponse(text, headers=PRODUCT)

    def _nodes(self, request: Request) -> dict[str, Any]:
        host = request.headers.get("host", "")
        node = {
            "name": _NODE,
            "version": self._gateway.settings.elasticsearch_version,
            "roles": ["data", "ingest"],
            "http": {"bound_address": [host], "publish_address": host},
        }
        return {"_nodes": {"total": 1, "successful": 1, "failed": 0}, "cluster_name": _CLUSTER, "nodes": {_UUID: node}}

    def _index_template(self, request: Request) -> dict[str, Any]:
        template = {"index_patterns": ["*"], "composed_of": [], "priority": 0, "data_stream": {}, "template": {}}
        return {"index_templates": [{"name": _name(request), "index_template": template}]}

    def _component_template(self, request: Request) -> dict[str, Any]:
        return {"component_templates": [{"name": _name(request), "component_template": {"template": {}}}]}

    def _data_stream(self, request: Request) -> dict[str, Any]:
        name = _name(request)
        stream = {"name": name, "timestamp_field": {"name": "@timestamp"}, "indices": [], "generation": 1}
        return {"data_streams": [stream | {"status": "GREEN", "template": name}]}

    def _index(self, request: Request) -> Response | dict[str, Any]:
        name = _name(request)
        if name.startswith("_"):
            reason = f"no such question: {name[:80]}"
            return elastic(request, error_body(404, "resource_not_found_exception", reason), 404)
        return {"acknowledged": True, "shards_acknowledged": True, "index": name}


def _name(request: Request) -> str:
    return str(request.path_params.get("name", "*"))[:512]
