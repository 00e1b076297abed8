"""Asking Elasticsearch a question, and what its refusals of a question mean."""

from __future__ import annotations

import time
from typing import Any, Final

from vedette_backends.errors import BackendError
from vedette_backends.store import elastic_patterns as patterns
from vedette_backends.store.elastic_http import Answer, Api, dumps, error_of, good, problem
from vedette_backends.store.elastic_query import Dsl
from vedette_engine.query.tree import QueryError

MAX_BUCKETS: Final = 10_000
_PAUSES: Final = (0.05, 0.1, 0.2, 0.4, 0.8)
_SEARCH: Final = "_search?ignore_unavailable=true&allow_no_indices=true&allow_partial_search_results=false"


class TooManyPartsError(QueryError):
    """An aggregation has more buckets than the server gives."""


def search(api: Api, target: str, body: Dsl) -> Any:
    """Ask indices that need not exist; all shards answer, or nobody does.

    Raises:
        QueryError: the question is more than the server answers.
    """
    try:
        question = dumps(body)
    except TypeError as error:
        raise QueryError("The question holds characters that no text has") from error
    answer = api.call("POST", f"/{target}/{_SEARCH}", question)
    for pause in _PAUSES:
        if answer.status != 503:
            break
        # An index that was made a moment ago (a new day's) has no shard yet.
        time.sleep(pause)
        answer = api.call("POST", f"/{target}/{_SEARCH}", question)
    if not answer.ok:
        raise _query_problem(answer)
    return good(answer)


def _query_problem(answer: Answer) -> BackendError | QueryError:
    kind, reason = error_of(answer)
    said = f"{kind} {reason}".lower()
    if "too_many_buckets" in said or "too many buckets" in said:
        return TooManyPartsError(f"The answer has too many parts: ask for fewer, at most {MAX_BUCKETS}")
    if answer.status == 400:
        if "determiniz" in said or "regex" in said or "too_complex" in said:
            return QueryError(patterns.INTRICATE)
        if "nested depth" in said or "clause" in said:
            return QueryError("The query is too large or too deeply nested")
    return problem(answer)


def total_of(found: Any) -> int:
    """Matches of a search that counted all of them."""
    total: int = found["hits"]["total"]["value"]
    return total
