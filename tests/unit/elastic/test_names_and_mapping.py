"""Names of indices, patterns of templates, and that every field of the catalogue is mapped."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vedette_backends.errors import RefusedError
from vedette_backends.store import elastic_mapping as mapping
from vedette_backends.store import elastic_names as names
from vedette_backends.store.elastic_names import Names
from vedette_backends.store.elastic_roles import role_of
from vedette_engine.ecs.catalogue import CATALOGUE

namespaces = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
retentions = st.sampled_from(["7d", "30d", "90d", "400d"])


@given(namespaces, namespaces, retentions, retentions)
def test_no_pattern_matches_an_index_of_another_namespace_or_class(one: str, other: str, mine: str, its: str) -> None:
    index = Names(other).day(its, "2026.11.22")
    (pattern,) = mapping.events_template(Names(one), mine)["index_patterns"]
    assert fnmatchcase(index, pattern) == ((one, mine) == (other, its))
    assert fnmatchcase(index, Names(one).events) == (one == other)


@given(namespaces, retentions)
def test_an_index_tells_whose_it_is(namespace: str, retention: str) -> None:
    index = Names(namespace).day(retention, "2026.11.22")
    assert names.parse_events_index(index) == (namespace, retention, "2026.11.22")
    assert names.namespace_of(index) == namespace
    for kind in names.SINGLE:
        assert names.namespace_of(Names(namespace).single(kind)) == namespace


@pytest.mark.parametrize("name", ["", "a.b", "A", "*", "a,b", "-a", "a-", "a/b", "x" * 64, "a*", "_all"])
def test_what_is_no_namespace_is_refused(name: str) -> None:
    with pytest.raises(RefusedError):
        Names(name)


@pytest.mark.parametrize(
    "name", ["other", "vedette-", "vedette-events", "vedette-x.shop", "vedette-alerts.", "vedette-alerts.*"]
)
def test_what_is_not_ours_belongs_to_nobody(name: str) -> None:
    assert names.namespace_of(name) is None


@pytest.mark.parametrize(
    ("ingested", "day"), [(0, "1970.01.01"), (1_795_348_800_000, "2026.11.22"), (-62_135_596_800_000, "0001.01.01")]
)
def test_the_day_is_that_of_utc(ingested: int, day: str) -> None:
    assert names.day_of(ingested) == day


def test_a_time_outside_of_the_calendar_has_no_day() -> None:
    with pytest.raises(ValueError, match="calendar"):
        names.day_of(2**60)


def test_every_field_of_the_catalogue_is_mapped_and_nothing_is_dynamic() -> None:
    made = mapping.events_mapping()
    assert set(CATALOGUE) <= set(made["properties"])
    assert made["dynamic"] is False
    # The types that every Elasticsearch has, whatever its modules.
    types = {field["type"] for field in made["properties"].values()}
    assert types <= {"keyword", "long", "double", "boolean", "date", "ip", "text", "flattened"}


def test_a_changed_body_has_another_hash() -> None:
    template = mapping.component_template()
    hash_of = template["_meta"]["hash"]
    assert hash_of == mapping.component_template()["_meta"]["hash"]
    changed = {**template["template"], "settings": {}}
    assert mapping.fingerprint({"template": changed}) != hash_of


@given(st.sampled_from(["worker", "gateway", "librarian", "web"]), st.lists(namespaces, min_size=1, max_size=4))
def test_no_role_reaches_an_index_outside_of_its_namespaces(role: str, given_namespaces: list[str]) -> None:
    made = role_of(role, given_namespaces)
    for patterns, privileges in made.indices:
        assert "all" not in privileges
        for pattern in patterns:
            owner = names.namespace_of(pattern.replace("*", "30d.2026.11.22"))
            assert owner in given_namespaces
            assert pattern.count("*") == (1 if pattern.startswith(names.EVENTS) else 0)


@given(st.lists(namespaces, min_size=1, max_size=4, unique=True))
def test_only_the_librarian_deletes_and_nobody_writes_over_events(given_namespaces: list[str]) -> None:
    for role in ("worker", "gateway", "librarian", "web"):
        for patterns, privileges in role_of(role, given_namespaces).indices:
            if any(pattern.startswith(names.EVENTS) for pattern in patterns):
                assert not {"index", "write", "delete", "manage"} & set(privileges)
            assert ("delete_index" in privileges) <= (role == "librarian")


@given(namespaces, st.lists(namespaces, max_size=4))
def test_the_order_of_tenants_changes_no_key(system: str, tenants: list[str]) -> None:
    assume(tenants)
    one, other = role_of("web", [system, *tenants]), role_of("web", [system, *reversed(tenants)])
    assert one.metadata["hash"] == other.metadata["hash"]


def test_a_part_that_does_not_exist_has_no_role() -> None:
    with pytest.raises(RefusedError):
        role_of("root", ["shop"])
    with pytest.raises(RefusedError):
        role_of("web", [])
