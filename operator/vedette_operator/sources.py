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


def judge(source: LogSource) -> Verdict:
    """Whether the source may go into force, and its configuration for the workers if so. Pure."""
    unsupported = not_yet_supported(source)
    if unsupported:
        return refused("NotYetSupported", unsupported)
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
    return Verdict((accepted, finding), config.to_json(), tally(results))


def gateway_entry(source: LogSource, secret: Secrets) -> Mapping[str, Any] | Problem:
    """The source in the gateway's bundle: the token's hash and limits; a problem when its Secret is not there."""
    namespace, name = source.metadata.namespace, source.metadata.name
    http = source.spec.input.http
    assert http is not None  # judged: other inputs are not supported yet
    ref = http.token_secret_ref
    token = secret(namespace, ref.name, ref.key)
    if not token or not token.strip():
        return Problem(
            f"Secret {namespace}/{ref.name} has no key {ref.key!r}, so nobody can send to this source",
            path="spec.input.http.tokenSecretRef",
            hint="add the Secret beside the source",
        )
    limits = source.spec.limits
    entry: dict[str, Any] = {
        "namespace": namespace,
        "name": name,
        "format": str(source.spec.format),
        "tokens": [sha256(token.strip()).hexdigest()],
    }
    if limits is not None:
        entry["limits"] = limits.model_dump(by_alias=True, exclude_none=True)
    return entry
