"""Dead letters: what could not be processed, why, and sending it again."""

from __future__ import annotations

from starlette.responses import Response

from vedette_webui.visit import PageError, Visit

PAGE = 50
STATES = ("waiting", "replayed", "dismissed", "all")


def index(visit: Visit) -> Response:
    """The list."""
    query = visit.query
    state = query.get("state", "waiting")
    letters, total, after = visit.store.search_dead_letters(
        source=query.get("source") or None,
        reason=query.get("reason") or None,
        state=None if state == "all" else state,
        size=PAGE,
        after=query.get("after") or None,
    )
    shown = "_letter_rows.html" if visit.part and "after" in query else "dead_letters.html"
    return visit.render(
        shown,
        letters=letters,
        total=total,
        after=after,
        state=state,
        states=STATES,
        sources=[each.key.name for each in visit.desk.objects.of("LogSource", visit.namespace)],
        can_replay=visit.desk.replay is not None and visit.can("replay", "deadletters"),
    )


def actions(visit: Visit) -> Response:
    """Replay or dismiss the chosen ones."""
    ids = [str(one) for one in visit.form.getlist("letter")][:1000]
    action = visit.text("action")
    visit.need("replay" if action == "replay" else "dispose", "deadletters")
    if not ids:
        raise PageError(400, "Nothing is selected", "Select dead letters first.")
    if action == "replay":
        if visit.desk.replay is None:
            raise PageError(409, "Nothing here can replay", "Use `vedette replay`.")
        number = visit.desk.replay(visit.namespace, ids)
        text = f"{number} sent again"
    elif action in {"dismiss", "restore"}:
        number = visit.store.mark_dead_letters(ids, "dismissed" if action == "dismiss" else "waiting")
        text = f"{number} {'dismissed' if action == 'dismiss' else 'waiting again'}"
    else:
        raise PageError(400, "There is no such action")
    undo = {"action": "/dead-letters/actions", "letter": ids, "do": "restore"} if action == "dismiss" else None
    return visit.done(text, visit.url("/dead-letters"), undo, refresh={})
