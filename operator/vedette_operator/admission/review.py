"""The AdmissionReview of admission.k8s.io/v1: what the API server asks, what can be answered at once, the answer.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from vedette_crds.alertrule import MAX_BYTES
from vedette_crds.kinds import KINDS
from vedette_crds.problems import Problem
from vedette_crds.resource import GROUP

API_VERSION: Final = "admission.k8s.io/v1"
MAX_WARNINGS: Final = 10
MAX_WARNING: Final = 256
"""Characters; the API server cuts longer ones."""
MAX_MESSAGE: Final = 8_000
MAX_LINE: Final = 1_000
_MAX_UID: Final = 200
_SIGMA: Final = "spec.sigma"


class NoReviewError(ValueError):
    """What was posted is no AdmissionReview of the version that we speak."""


@dataclass(frozen=True, slots=True)
class Review:
    """One question.

    Attributes:
        uid: names the question; the answer repeats it.
        kind: `AlertRule`.
        group: API group of the kind.
        operation: CREATE | UPDATE | DELETE | CONNECT.
        subresource: `status` and its likes; empty for the object itself.
        manifest: the object as it would be stored; empty for DELETE.
        old: as it is stored now; empty for CREATE.
    """

    uid: str
    kind: str
    group: str
    operation: str
    subresource: str
    manifest: Mapping[str, Any]
    old: Mapping[str, Any]

    def __str__(self) -> str:
        metadata = self.manifest.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        name = metadata.get("name") or metadata.get("generateName") or ""
        return f"{self.kind} {metadata.get('namespace', '')}/{name}"[:200]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to tell the API server. `message`: why not, for people; `outcome` names it in metrics."""

    allowed: bool
    outcome: str
    message: str = ""
    warnings: Sequence[str] = ()


def read(body: bytes) -> Review:
    """The question in a request's body; raises NoReviewError."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoReviewError(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict) or (raw.get("apiVersion"), raw.get("kind")) != (API_VERSION, "AdmissionReview"):
        raise NoReviewError(f"the body is no AdmissionReview of {API_VERSION}")
    request = _mapping(raw.get("request"))
    kind = _mapping(request.get("kind"))
    uid = _text(request.get("uid"))
    if not 0 < len(uid) <= _MAX_UID:
        raise NoReviewError("the review has no request with a uid")
    return Review(
        uid=uid,
        kind=_text(kind.get("kind")),
        group=_text(kind.get("group")),
        operation=_text(request.get("operation")),
        subresource=_text(request.get("subResource")),
        manifest=_mapping(request.get("object")),
        old=_mapping(request.get("oldObject")),
    )


def settled(review: Review) -> Answer | None:
    """The answer where none of our judges is needed; None where one is."""
    if review.operation not in {"CREATE", "UPDATE"} or review.subresource:
        return Answer(True, "passed")
    if review.group != GROUP or review.kind not in KINDS:
        return Answer(True, "passed", warnings=(f"Vedette's webhook does not know the kind {review.kind[:60]}",))
    if _mapping(review.manifest.get("metadata")).get("deletionTimestamp"):
        return Answer(True, "passed")  # a broken object must be able to lose its finalizers
    spec = _canonical(review.manifest)
    if review.operation == "UPDATE" and spec == _canonical(review.old):
        return Answer(True, "passed")
    if review.kind == "AlertRule" and len(spec) > MAX_BYTES:
        hint = "make several rules of it, or test with fewer and smaller events"
        problem = Problem(
            f"the spec has {len(spec):,} bytes, at most {MAX_BYTES:,} are allowed", path="spec", hint=hint
        )
        return refusal(review, [problem])
    return None


def refusal(review: Review, problems: Sequence[Problem]) -> Answer:
    """No, and every reason that fits into `MAX_MESSAGE` characters."""
    lines = [_line(problem) for problem in problems]
    if len(lines) == 1:
        return Answer(False, "refused", f"{review}: {lines[0]}"[:MAX_MESSAGE])
    text = f"{review} has {len(lines)} mistakes:"
    for number, line in enumerate(lines):
        more = f"\n* and {len(lines) - number} more"
        if len(text) + len(line) + len(more) + 3 > MAX_MESSAGE:
            text += more
            break
        text += f"\n* {line}"
    return Answer(False, "refused", text)


def warning(problem: Problem) -> str:
    """A problem that does not hinder, in the length that API servers pass on."""
    return _cut(_line(problem), MAX_WARNING)


def write(uid: str, answer: Answer) -> bytes:
    """The AdmissionReview with the answer."""
    response: dict[str, Any] = {"uid": uid, "allowed": answer.allowed}
    if not answer.allowed:
        # No reason and details: kubectl would print those instead of the message.
        response["status"] = {"code": 422, "message": answer.message}
    if answer.warnings:
        told = [_cut(text, MAX_WARNING) for text in answer.warnings[:MAX_WARNINGS]]
        if len(answer.warnings) > MAX_WARNINGS:
            told[-1] = f"and {len(answer.warnings) - MAX_WARNINGS + 1} more warnings"
        response["warnings"] = told
    return orjson.dumps({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})


def _line(problem: Problem) -> str:
    path = problem.path.replace(f"{_SIGMA}.[", f"{_SIGMA}[")
    line = f"line {problem.line} of the Sigma text" if problem.line and path.startswith(_SIGMA) else ""
    where = ", ".join(part for part in (path, line) if part)
    hint = f" ({problem.hint})" if problem.hint else ""
    text = f"{where}: {problem.message}{hint}" if where else f"{problem.message}{hint}"
    return _cut(" ".join(text.split()), MAX_LINE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    # As JSON: Python holds 1, 1.0 and True for equal, a manifest does not.
    return orjson.dumps(manifest.get("spec"), option=orjson.OPT_SORT_KEYS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
