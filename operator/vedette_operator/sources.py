"""Judging one LogSource, and the gateway's part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from vedette_crds.features import not_yet_supported
from vedette_crds.logsource import LogSource
from vedette_crds.problems import Problem, ProblemsError
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.testing import run_source_tests
from vedette_operator.verdict import Finding, Verdict, as_problems, refused, tally, tested

Secrets = Callable[[str, str, str], bytes | None]
"""(namespace, Secret, key) → value, None where there is none."""


def judge(source: LogSource, *, cluster: bool = False) -> Verdict:
    """Whether the source may go into force, and its configuration for the workers if so. Pure."""
    unsupported = not_yet_supported(source, cluster=cluster)
    if unsupported:
        not_run = {"passed": 0, "failed": 0, "notRun": len(source.spec.tests)}
        return refused("NotYetSupported", unsupported, not_run)
    namespace, name = source.metadata.namespace, source.metadata.name
    config = SourceConfig.from_spec(namespace, name, source.spec)
    try:
        Normaliser(config)
    except ProblemsError as error:
        return refused("Invalid", error.problems)
    results = run_source_tests(source.spec, namespace, name)
    accepted = Finding("Accepted", "True", "Valid", f"{config.format} becomes {config.dataset or 'events'}")
    finding = tested(results)
    if finding.status == "False":
        return Verdict((accepted, finding), None, tally(results), tuple(as_problems(results)))
    part = {**config.to_json(), "gateway": _gateway(source), "bindings": _bindings(source)}
    return Verdict((accepted, finding), part, tally(results))


def _bindings(source: LogSource) -> list[list[str]]:
    """Exchange and routing key of what foreign publishers send."""
    amqp = source.spec.input.amqp
    return [] if amqp is None else [[amqp.exchange, key] for key in amqp.routing_keys]


def _gateway(source: LogSource) -> Mapping[str, Any] | None:
    """What the gateway has to know; it is kept in the bundle, so that it outlives a version that is refused."""
    http = source.spec.input.http
    if http is None:
        return None
    limits = source.spec.limits
    return {
        "secret": http.token_secret_ref.name,
        "key": http.token_secret_ref.key,
        "limits": None if limits is None else limits.model_dump(by_alias=True, exclude_none=True),
    }


def gateway_entry(namespace: str, name: str, part: Mapping[str, Any], secret: Secrets) -> Mapping[str, Any] | Problem:
    """The source in the gateway's file: the token's hash and limits; a problem when its Secret is not there.

    `part` is the source's part of the bundle, of its newest or of its last good version.
    """
    wanted = part["gateway"]
    token = secret(namespace, wanted["secret"], wanted["key"])
    if not token or not token.strip():
        return Problem(
            f"Secret {namespace}/{wanted['secret']} has no key {wanted['key']!r}, so nobody can send to this source",
            path="spec.input.http.tokenSecretRef",
            hint="add the Secret beside the source",
        )
    entry: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "format": part["format"],
        "tokens": [sha256(token.strip()).hexdigest()],
    }
    if wanted["limits"] is not None:
        entry["limits"] = wanted["limits"]
    return entry
