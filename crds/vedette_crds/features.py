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


@dataclass(frozen=True, slots=True)
class Later:
    """One thing that is not there yet.

    Attributes:
        path: attributes from the object to the field, `spec.input.sqs`.
        works: the values that work already; empty where none does.
    """

    kind: str
    path: str
    works: frozenset[str] = frozenset()


LATER = (
    *(
        Later("LogSource", f"spec.input.{name}")
        for name in ("amqp", "syslog", "otlp", "kubernetes_audit", "sqs", "s3", "pubsub", "poll", "file")
    ),
    Later("LogSource", "spec.format", frozenset({"json", "mozdef", "syslog", "text", "windowsEvent"})),
    Later("LogSource", "spec.parser", frozenset({"linux.auth", "aws.cloudtrail"})),
    Later("LogSource", "spec.workers.mode", frozenset({"shared"})),
    Later("LogSource", "spec.retention.archive"),
    *(Later("Enrichment", f"spec.{name}") for name in ("cidr", "indicators", "python")),
    *(
        Later("AlertRule", f"spec.{name}")
        for name in ("search", "absence", "new_terms", "indicator_match", "travel", "lateness", "suppress", "rollout")
    ),
    Later("AlertRule", "spec.incident.open", frozenset({"suggest", "never"})),
    Later("AlertRule", "spec.incident.template"),
)


def not_yet_supported(model: Resource) -> list[Problem]:
    """One problem with its path for each thing that the object asks for and this version cannot do."""
    name = f"{model.KIND} {model.namespace}/{model.name}"
    found = [problem for later in LATER if later.kind == model.KIND for problem in _check(later, model)]
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
    if not later.works:
        yield Problem(f"{field} is not supported yet", path=path, hint=_HINT)
    elif value not in later.works:
        hint = f"what works now: {', '.join(sorted(later.works))}"
        yield Problem(f"{field} {value} is not supported yet", path=path, hint=hint)


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
