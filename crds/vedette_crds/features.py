"""What the kinds can say and this version cannot do yet: valid, and told instead of ignored.

The operator turns what it finds here into `Accepted=False, reason=NotYetSupported`. Whoever builds one of these takes
its line out of `LATER`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.alias_generators import to_camel

from vedette_crds import sigma_text
from vedette_crds.alertrule import AlertRule
from vedette_crds.problems import Problem
from vedette_crds.resource import Resource

_HINT = "a later version brings it; until then the object is kept and does nothing"
_NEEDS_CLUSTER = "`vedette up` cannot do it, a cluster can; until then the object is kept and does nothing"


@dataclass(frozen=True, slots=True)
class Later:
    """One thing that is not there yet.

    Attributes:
        path: attributes from the object to the field, `spec.input.sqs`.
        works: the values that work already; empty where none does.
        in_cluster: a cluster has it already, only the embedded mode lacks it.
    """

    kind: str
    path: str
    works: frozenset[str] = frozenset()
    in_cluster: bool = False


LATER = (
    Later("LogSource", "spec.input.amqp", in_cluster=True),
    *(
        Later("LogSource", f"spec.input.{name}")
        for name in ("syslog", "otlp", "kubernetes_audit", "sqs", "s3", "pubsub", "poll", "file")
    ),
    Later("LogSource", "spec.format", frozenset({"json", "mozdef", "syslog", "text", "windowsEvent"})),
    Later("LogSource", "spec.parser", frozenset({"linux.auth", "aws.cloudtrail"})),
    Later("LogSource", "spec.workers.mode", frozenset({"shared"}), in_cluster=True),
    Later("LogSource", "spec.retention.archive"),
    *(Later("Enrichment", f"spec.{name}") for name in ("cidr", "indicators", "python")),
    *(
        Later("AlertRule", f"spec.{name}")
        for name in ("absence", "new_terms", "indicator_match", "travel", "lateness", "suppress", "rollout")
    ),
    *(
        # A window that may still grow satisfies them now and not later: they ask for windows that are over.
        Later("AlertRule", f"spec.search.condition.{number}.{limit}")
        for number in ("count", "distinct")
        for limit in ("lt", "lte", "eq", "neq")
    ),
    Later("AlertRule", "spec.incident.template"),
)


def not_yet_supported(model: Resource, *, cluster: bool = False) -> list[Problem]:
    """One problem with its path for each thing that the object asks for and this version cannot do.

    Args:
        model: the object.
        cluster: whether it is for a cluster; the embedded mode lacks what needs servers of its own.
    """
    name = f"{model.KIND} {model.namespace}/{model.name}"
    missing = [later for later in LATER if later.kind == model.KIND and not (cluster and later.in_cluster)]
    found = [problem for later in missing for problem in _check(later, model)]
    if isinstance(model, AlertRule):
        found += _correlations(model)
    return [problem.at(object=name) for problem in found]


def _check(later: Later, model: Resource) -> Iterator[Problem]:
    value: Any = model
    steps = later.path.split(".")
    for step in steps:
        value = getattr(value, step)
        if value is None:
            return
    path = ".".join(to_camel(step) for step in steps)
    field = path.rpartition(".")[2]
    missing = "is not supported by the embedded mode" if later.in_cluster else "is not supported yet"
    if not later.works:
        yield Problem(f"{field} {missing}", path=path, hint=_NEEDS_CLUSTER if later.in_cluster else _HINT)
    elif value not in later.works:
        hint = f"what works now: {', '.join(sorted(later.works))}"
        yield Problem(f"{field} {value} {missing}", path=path, hint=hint)


def _correlations(rule: AlertRule) -> Iterator[Problem]:
    text = rule.spec.sigma
    if text is None or "correlation" not in text:
        return
    for number, document in enumerate(sigma_text.documents(text), 1):
        if isinstance(document, dict) and "correlation" in document:
            title = document.get("title")
            which = f" ({title[:80]})" if isinstance(title, str) else ""
            yield Problem(
                f"document {number}{which} is a correlation, not supported yet", path="spec.sigma", hint=_HINT
            )
