"""Sessions of people whom a cluster knows: what the cookie holds, what is asked again and when.

The two reviews are the interface to the cluster; here they are tables that tests change. What a real API server says is
in test_kubernetes_rights.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.cluster.resources import Identity
from vedette_backends.errors import UnavailableError
from vedette_webui import live, sessions
from vedette_webui.app import create_app
from vedette_webui.auth import Right
from vedette_webui.kubernetes import (
    RIGHT_SECONDS,
    TOKEN_LIMIT,
    TOKEN_SECONDS,
    KubernetesAccounts,
    KubernetesSession,
    Remembered,
)
from vedette_webui.settings import Settings

SETTINGS = Settings([], session_key=b"k" * 32)
LIST = Right("list", "alerts")


class Cluster:
    """Tokens and rights of a cluster; counts what it is asked."""

    def __init__(self) -> None:
        self.tokens: dict[str, Identity] = {"jane-token": Identity("jane", "1", ("soc",), {"scope": ("a",)})}
        self.rights: set[tuple[str, str, str, str]] = {("jane", "list", "alerts", "shop")}
        self.asked_tokens = 0
        self.asked_rights: list[tuple[str, str, str, str]] = []
        self.down = False
        self.now = 1000.0

    def review_token(self, token: str) -> Identity | None:
        self.asked_tokens += 1
        if self.down:
            raise UnavailableError("no connection")
        return self.tokens.get(token)

    def review_access(
        self, identity: Identity, verb: str, group: str, resource: str, namespace: str, name: str
    ) -> tuple[bool, str]:
        assert group == "vedette.dev"
        self.asked_rights.append((verb, resource, namespace, name))
        return (identity.user, verb, resource, namespace) in self.rights, ""

    def accounts(self, settings: Settings = SETTINGS) -> KubernetesAccounts:
        return KubernetesAccounts(settings, self.review_token, self.review_access, clock=lambda: self.now)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def session_of(accounts: KubernetesAccounts, token: str = "jane-token") -> KubernetesSession:
    cookie = accounts.enter(token, 0)
    assert cookie is not None
    session = accounts.read(cookie, 1)
    assert isinstance(session, KubernetesSession)
    return session


def test_a_token_becomes_a_session_under_the_name_that_the_cluster_gives(cluster: Cluster) -> None:
    session = session_of(cluster.accounts())
    assert (session.user, session.identity.groups) == ("jane", ("soc",))
    assert cluster.accounts().enter("wrong", 0) is None


def test_the_cookie_does_not_show_the_token_and_fits_a_browser(cluster: Cluster) -> None:
    token = "t" * TOKEN_LIMIT
    cluster.tokens[token] = Identity("long")
    cookie = cluster.accounts().enter(token, 0)
    assert cookie is not None
    assert "tttt" not in cookie
    raw = sessions.decode(cookie)
    assert raw is not None
    assert b"tttt" not in raw
    assert len(f"__Host-vedette-12345678={cookie}; Max-Age=43200; Path=/; SameSite=strict; Secure; HttpOnly") <= 4096
    assert cluster.accounts().enter(token + "t", 0) is None


def test_what_is_shown_of_a_session_in_a_log_is_not_the_token(cluster: Cluster) -> None:
    assert "jane-token" not in repr(session_of(cluster.accounts()))


def test_every_replica_with_the_same_key_knows_the_session_and_no_other(cluster: Cluster) -> None:
    cookie = cluster.accounts().enter("jane-token", 0)
    assert cookie is not None
    assert cluster.accounts().read(cookie, 1) is not None
    assert cluster.accounts(Settings([], session_key=b"x" * 32)).read(cookie, 1) is None


def test_two_sessions_of_one_token_do_not_share_their_form_tokens(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    first, second = session_of(accounts), session_of(accounts)
    assert sessions.csrf_holds(SETTINGS, first, sessions.csrf_token(SETTINGS, first))
    assert not sessions.csrf_holds(SETTINGS, second, sessions.csrf_token(SETTINGS, first))


def test_a_session_ends_by_itself(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    cookie = accounts.enter("jane-token", 0)
    assert cookie is not None
    assert accounts.read(cookie, SETTINGS.session_seconds - 1) is not None
    assert accounts.read(cookie, SETTINGS.session_seconds) is None


def test_a_revoked_token_ends_the_session_within_a_minute(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    cookie = accounts.enter("jane-token", 0)
    assert cookie is not None
    cluster.tokens.clear()
    assert accounts.read(cookie, 1) is not None
    cluster.now += TOKEN_SECONDS
    assert accounts.read(cookie, 1) is None
    of_the_api_server = 10
    assert of_the_api_server + TOKEN_SECONDS + live.CHECK + live.PING <= 60


def test_while_the_cluster_is_down_nobody_is_signed_out_and_nobody_gets_in(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    cookie = accounts.enter("jane-token", 0)
    assert cookie is not None
    cluster.down, cluster.now = True, cluster.now + TOKEN_SECONDS
    with pytest.raises(UnavailableError):
        accounts.read(cookie, 1)
    cluster.down = False
    assert accounts.read(cookie, 1) is not None


def test_reviews_are_remembered_for_seconds_and_per_question(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    session = session_of(accounts)
    for _ in range(3):
        assert accounts.allows(session, LIST, "shop")
        assert not accounts.allows(session, Right("dispose", "alerts"), "shop")
    assert not accounts.allows(session, LIST, "bank")
    assert len(cluster.asked_rights) == 3
    cluster.rights.clear()
    cluster.now += RIGHT_SECONDS
    assert not accounts.allows(session, LIST, "shop")
    assert RIGHT_SECONDS <= 10


def test_rights_of_one_person_are_not_remembered_for_another(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    assert accounts.allows(session_of(accounts), LIST, "shop")
    for number, identity in enumerate(
        (Identity("jim", "1", ("soc",)), Identity("jane", "2", ("soc",)), Identity("jane", "1", ("soc", "more")))
    ):
        cluster.tokens[str(number)] = identity
        accounts.allows(session_of(accounts, str(number)), LIST, "shop")
    assert len(cluster.asked_rights) == 4


def test_whoever_may_see_all_namespaces_costs_one_question(cluster: Cluster) -> None:
    cluster.rights.add(("jane", "list", "alerts", ""))
    accounts = cluster.accounts()
    names = [f"team-{number}" for number in range(100)]
    assert accounts.visible(session_of(accounts), names) == names
    assert len(cluster.asked_rights) == 1


def test_others_are_offered_their_own_namespaces_in_order(cluster: Cluster) -> None:
    cluster.rights.add(("jane", "list", "alerts", "bank"))
    accounts = cluster.accounts()
    assert accounts.visible(session_of(accounts), ["shop", "bank", "zoo"]) == ["shop", "bank"]


def test_a_refusal_names_the_right_that_is_missing(cluster: Cluster) -> None:
    accounts = cluster.accounts()
    message, hint = accounts.refusal(session_of(accounts), Right("replay", "deadletters"), "shop")
    assert message == "You may not replay deadletters in shop"
    assert "verb replay on deadletters of the group vedette.dev" in hint


@given(st.binary(max_size=200))
def test_no_forged_cookie_is_a_session(raw: bytes) -> None:
    accounts = Cluster().accounts()
    assert accounts.read(sessions.encode(raw), 0) is None
    assert accounts.read(raw.decode("latin-1"), 0) is None


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_cookie_with_one_changed_byte_is_none(position: int, change: int) -> None:
    accounts = Cluster().accounts()
    raw = bytearray(sessions.decode(accounts.enter("jane-token", 0) or "") or b"")
    raw[position % len(raw)] ^= change
    assert accounts.read(sessions.encode(bytes(raw)), 1) is None


@given(st.text(max_size=30))
def test_any_text_may_be_offered_as_a_token(text: str) -> None:
    assert Cluster().accounts().enter(text, 0) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60))
def test_what_is_remembered_is_bounded_and_never_older_than_allowed(steps: list[tuple[int, int]]) -> None:
    now = [0.0]
    remembered: Remembered[int, float] = Remembered(3.0, 3, lambda: now[0])
    for key, pause in steps:
        now[0] += pause
        assert now[0] - remembered.get(key, lambda: now[0]) < 3
        assert len(remembered) <= 3


@pytest.fixture
def site(world: Any, cluster: Cluster) -> Callable[[], Any]:
    """Opens browsers on the world's store and cluster with the cluster's people."""
    world.app = create_app(
        world.settings,
        {"shop": world.store, "bank": world.store}.__getitem__,
        world.cluster,
        replay=world._replay,
        clock=lambda: world.now,
        auth=cluster.accounts(world.settings),
        namespaces=lambda: ["bank", "shop"],
    )
    return lambda: world.visitor("jane-token")


def test_only_namespaces_whose_alerts_may_be_listed_are_offered(site: Callable[[], Any]) -> None:
    jane = site()
    page = jane.get("/alerts")
    assert page.status_code == 200
    assert "?ns=shop" in page.text
    assert "bank" not in page.text
    hidden, absent = jane.get("/alerts?ns=bank"), jane.get("/alerts?ns=nowhere")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace("bank", "nowhere") == absent.text


def test_pages_and_buttons_without_a_right_are_not_shown_and_not_answered(
    site: Callable[[], Any], world: Any, post: Callable[..., Any]
) -> None:
    world.alert(1)
    jane = site()
    page = jane.get("/alerts").text
    assert 'href="/rules' not in page
    assert 'value="acknowledge"' not in page
    for path in ("/search", "/rules", "/sources", "/dead-letters", "/incidents", "/alerts/alert-1", "/events/x"):
        answer = jane.get(path)
        assert answer.status_code == 403, path
        assert "You may not" in answer.text
        assert "vedette.dev" in answer.text
    answer = post(jane, "/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"})
    assert answer.status_code == 403
    assert "You may not acknowledge alerts in shop" in answer.text
    assert world.store.get_alert("alert-1").version == 1


WRITES: list[tuple[str, dict[str, str], tuple[str, str]]] = [
    ("/alerts/actions", {"action": "acknowledge", "alert": "alert-1:1"}, ("acknowledge", "alerts")),
    ("/alerts/actions", {"action": "assign", "owner": "x", "alert": "alert-1:1"}, ("acknowledge", "alerts")),
    ("/alerts/actions", {"action": "close", "alert": "alert-1:1"}, ("dispose", "alerts")),
    ("/alerts/actions", {"action": "reopen", "alert": "alert-1:1"}, ("dispose", "alerts")),
    (
        "/alerts/undo",
        {"items": '[{"id": "alert-1", "version": 1, "workflow": {"status": "closed", "disposition": "benign"}}]'},
        ("dispose", "alerts"),
    ),
    ("/alerts/escalate", {"alert": "alert-1:1"}, ("create", "incidents")),
    ("/alerts/escalate", {"alert": "alert-1:1", "incident": "inc-1"}, ("patch", "incidents")),
    ("/incidents", {"title": "x", "severity": "low"}, ("create", "incidents")),
    ("/incidents/inc-1/change", {"field": "severity", "value": "low", "was": "high"}, ("patch", "incidents")),
    ("/incidents/inc-1/notes", {"text": "x", "id": "12345678"}, ("create", "notes")),
    ("/dead-letters/actions", {"action": "replay", "letter": "d"}, ("replay", "deadletters")),
    ("/dead-letters/actions", {"action": "dismiss", "letter": "d"}, ("dispose", "deadletters")),
]


@pytest.mark.parametrize(("path", "form", "right"), WRITES, ids=lambda value: str(value)[:40])
def test_each_write_takes_its_own_right(
    site: Callable[[], Any],
    world: Any,
    cluster: Cluster,
    post: Callable[..., Any],
    path: str,
    form: dict[str, str],
    right: tuple[str, str],
) -> None:
    world.alert(1)
    world.apply("Incident", "inc-1", {"title": "One", "severity": "high", "phase": "Identification"})
    every = {right for _, _, right in WRITES}
    cluster.rights |= {("jane", *each, "shop") for each in every - {right}}
    jane = site()
    refused = post(jane, path, form)
    assert refused.status_code == 403
    assert f"You may not {' '.join(right)} in shop" in refused.text.replace("&#39;", "'")
    assert world.store.get_alert("alert-1").version == 1
    assert world.replayed == []
    cluster.rights |= {("jane", *right, "shop")}
    cluster.now += RIGHT_SECONDS
    assert post(jane, path, form).status_code in {204, 303}


def test_a_page_asks_about_rights_once_however_long_its_lists_are(
    site: Callable[[], Any], world: Any, cluster: Cluster
) -> None:
    for number in range(1, 50):
        world.alert(number)
    jane = site()
    jane.get("/alerts")
    asked = len(cluster.asked_rights)
    assert asked == len(set(cluster.asked_rights))
    assert asked < 15
    for _ in range(5):
        jane.get("/alerts")
    assert len(cluster.asked_rights) == asked


def test_an_incident_names_the_person_who_changed_it(
    site: Callable[[], Any], world: Any, cluster: Cluster, post: Callable[..., Any]
) -> None:
    cluster.rights |= {("jane", verb, "incidents", "shop") for verb in ("get", "list", "create", "patch")}
    jane = site()
    name = post(jane, "/incidents", {"title": "x", "severity": "low"}).headers["location"].split("/")[2].split("?")[0]
    post(jane, f"/incidents/{name}/change", {"field": "severity", "value": "high", "was": "low"})
    (incident,) = world.cluster.list("Incident")
    assert incident.manifest["metadata"]["annotations"]["vedette.dev/changed-by"] == "jane"
    assert incident.manifest["spec"]["severity"] == "high"


def test_an_address_of_a_page_leads_past_the_sign_in(site: Callable[[], Any], world: Any) -> None:
    site()
    client = world.visitor()
    page = client.get("/alerts?status=new")
    assert page.status_code == 401
    assert "kubectl create token" in page.text
    assert f'maxlength="{TOKEN_LIMIT}"' in page.text
    wrong = client.post("/signin", data={"token": "wrong"})
    assert wrong.status_code == 403
    assert "does not know this token" in wrong.text
    answer = client.post("/signin", data={"token": "jane-token", "next": "/alerts?status=new"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts?status=new")


def test_somebody_without_any_right_is_told_what_it_takes(site: Callable[[], Any], cluster: Cluster) -> None:
    cluster.rights.clear()
    answer = site().get("/alerts")
    assert answer.status_code == 404
    assert "no namespace whose alerts you may list" in answer.text
