"""The validating webhook: one question of the API server in, one answer out, and never a fault that blocks anybody."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from vedette_operator.admission import review
from vedette_operator.admission.judgement import Judgement
from vedette_operator.admission.judges import Judges, OverrunError, UnjudgedError
from vedette_operator.admission.metrics import Metrics
from vedette_operator.admission.review import Answer, NoReviewError, Review

log = logging.getLogger(__name__)

MAX_BODY: Final = 8 << 20
"""Bytes; a review holds an object twice, and the API server takes objects of 3 MiB at most."""
SHARE: Final = 0.8
"""Of the API server's own patience: the rest is for the way."""
_DECIDES: Final = "the operator decides, see its condition Accepted"


def create_app(
    judges: Judges, metrics: Metrics, *, alongside: Callable[[], Coroutine[Any, Any, None]] | None = None
) -> Starlette:
    """The application, for any ASGI server; judges are started and closed with it.

    Routes: POST /validate; GET /livez, /readyz, /metrics.

    Args:
        judges: not yet started.
        metrics: to count in.
        alongside: runs beside it, and is cancelled at the end.
    """
    webhook = _Webhook(judges, metrics)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await judges.start()
        task = asyncio.create_task(alongside()) if alongside is not None else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            await judges.close()

    routes = [
        Route("/validate", webhook.validate, methods=["POST"]),
        Route("/livez", webhook.livez),
        Route("/readyz", webhook.readyz),
        Route("/metrics", webhook.metrics),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


class _Webhook:
    def __init__(self, judges: Judges, metrics: Metrics) -> None:
        self._judges = judges
        self._metrics = metrics

    async def validate(self, request: Request) -> Response:
        began = time.monotonic()
        try:
            question = review.read(await _body(request))
        except NoReviewError as error:
            self._metrics.add("bad_requests_total")
            return PlainTextResponse(f"{error}\n", 400)
        except ClientDisconnect:
            return Response(status_code=400)
        with self._metrics.in_flight():
            answer = await self._answer(question, _patience(request))
        self._metrics.reviewed(question.kind, question.operation, answer.outcome, time.monotonic() - began)
        return Response(review.write(question.uid, answer), media_type="application/json")

    async def _answer(self, question: Review, patience: float) -> Answer:
        try:
            return review.settled(question) or await self._judged(question, patience)
        except OverrunError as error:
            log.warning("%s was not judged: %s", question, error)
            return Answer(True, "overrun", warnings=(f"not checked: {error}; {_DECIDES}",))
        except UnjudgedError as error:
            log.error("%s was not judged: %s", question, error)  # noqa: TRY400 # the child logged where it happened
            return Answer(True, "fault", warnings=(f"not checked, by a fault of Vedette: {error}; {_DECIDES}",))
        except Exception as error:
            log.exception("%s was not judged", question)
            kind = type(error).__name__
            return Answer(True, "fault", warnings=(f"not checked, by a fault of Vedette: {kind}; {_DECIDES}",))

    async def _judged(self, question: Review, patience: float) -> Answer:
        body = orjson.dumps(question.manifest)
        judgement = Judgement.from_json(await self._judges.judge(body, patience))
        if judgement.problems:
            return review.refusal(question, judgement.problems)
        return Answer(True, "accepted", warnings=[review.warning(one) for one in judgement.warnings])

    async def livez(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n") if self._judges.ready else PlainTextResponse("no judges\n", 503)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise NoReviewError(f"the body has more than {MAX_BODY >> 20} MiB")
    return bytes(body)


def _patience(request: Request) -> float:
    """Seconds that the API server leaves us: it sends its own limit as `?timeout=10s`."""
    text = request.query_params.get("timeout", "")
    number = text.removesuffix("s")
    try:
        seconds = float(number)
    except ValueError:
        return 60.0
    return max(seconds * SHARE, 0.1) if seconds > 0 else 60.0
