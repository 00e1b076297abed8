"""From a manifest to a verdict; in other processes when there is much to judge."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from pydantic import ValidationError

from vedette_crds.alertrule import AlertRule
from vedette_crds.logsource import LogSource
from vedette_crds.problems import Problem
from vedette_operator import rules, sources
from vedette_operator.cache import ContentCache, object_key
from vedette_operator.verdict import Verdict, refused

log = logging.getLogger(__name__)

Manifest = Mapping[str, Any]
_FAULT = b'"InternalError"'
POOL_FROM = 200
CHUNK = 50


def judge(manifest: Manifest, *, cluster: bool = False) -> Verdict:
    """The verdict on one AlertRule or LogSource. Any failure is a verdict too: one object never stops the others."""
    try:
        if manifest["kind"] == "AlertRule":
            return rules.judge(AlertRule.model_validate(manifest), object_key(manifest))
        return sources.judge(LogSource.model_validate(manifest), cluster=cluster)
    except ValidationError as error:
        return refused("Invalid", [_problem(fault) for fault in error.errors(include_url=False, include_input=False)])
    except Exception as error:
        log.exception("%s %s could not be judged", manifest["kind"], manifest["metadata"]["name"])
        return refused("InternalError", [Problem(f"{type(error).__name__}: {error}", hint="please report this")])


def judge_all(
    manifests: Sequence[Manifest],
    cache: ContentCache,
    progress: Callable[[int, int], None] | None = None,
    *,
    cluster: bool = False,
) -> list[Verdict]:
    """Verdicts in order, from the cache where it has them. `progress(done, all)` is called now and then.

    A cache serves either clusters or the embedded mode.
    """
    keys = [object_key(manifest) for manifest in manifests]
    found = [cache.get(key) for key in keys]
    missing = [index for index, body in enumerate(found) if body is None]
    fresh = _judge_missing(
        [manifests[index] for index in missing], progress, _judged_in_cluster if cluster else _judged
    )
    # A fault of ours may pass (no memory): it is looked at again at the next start.
    cache.put((keys[index], body) for index, body in zip(missing, fresh, strict=True) if _FAULT not in body)
    for index, body in zip(missing, fresh, strict=True):
        found[index] = body
    return [Verdict.from_json(body) for body in found if body is not None]


def _judge_missing(
    manifests: Sequence[Manifest],
    progress: Callable[[int, int], None] | None,
    judged: Callable[[Manifest], bytes],
) -> list[bytes]:
    if len(manifests) < POOL_FROM:
        return [judged(manifest) for manifest in manifests]
    bodies: list[bytes] = []
    # Spawned, since this process has threads. Manifests came through YAML and JSON: they pickle as plain data.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=os.cpu_count(), mp_context=context) as pool:
        for body in pool.map(judged, manifests, chunksize=CHUNK):
            bodies.append(body)
            if progress is not None and len(bodies) % CHUNK == 0:
                progress(len(bodies), len(manifests))
    return bodies


def _judged(manifest: Manifest) -> bytes:
    return judge(manifest).to_json()


def _judged_in_cluster(manifest: Manifest) -> bytes:
    return judge(manifest, cluster=True).to_json()


def _problem(fault: Mapping[str, Any]) -> Problem:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    return Problem(fault["msg"], path=path)
