"""A namespace has a scheduler as long as it has scheduled searches, on a real API server."""

from __future__ import annotations

import pytest
from tests.unit.desired.tenants import World

from vedette_backends.cluster.protocol import Key, Object
from vedette_operator.space import Known
from vedette_operator.verdict import Verdict

pytestmark = pytest.mark.slow

NAME = "vedette-scheduler"
BESIDE = [("v1", "ServiceAccount"), ("policy/v1", "PodDisruptionBudget"), ("networking.k8s.io/v1", "NetworkPolicy")]


def hear_of_a_search(world: World) -> None:
    """A rule that is a scheduled search reaches the operator."""
    item = Object(Key("AlertRule", world.name, "guesses"), {"metadata": {"name": "guesses"}}, {}, 1, 1)
    part = {"name": "guesses", "hash": "h", "sigma": [], "search": {"query": "*"}}
    world.space.objects["AlertRule"]["guesses"] = Known(item, Verdict((), part))


def there(world: World) -> list[bool]:
    return [world.resources.get(*kind, world.name, NAME) is not None for kind in BESIDE]


def test_a_namespace_has_a_scheduler_as_long_as_it_has_searches(world: World) -> None:
    world.put("web")
    world.ensure()
    assert NAME not in world.deployments()
    hear_of_a_search(world)
    world.ensure()
    spec = world.deployments()[NAME]
    assert spec["replicas"] == 1
    assert spec["template"]["spec"]["automountServiceAccountToken"] is False
    assert world.args(NAME)[:2] == ["worker", "scheduler"]
    assert all(there(world))
    del world.space.objects["AlertRule"]["guesses"]
    world.ensure()
    assert set(world.deployments()) == {"vedette-pipeline", "vedette-responder"}
    assert not any(there(world))


def test_a_scheduler_that_somebody_deleted_comes_back(world: World) -> None:
    world.put("web")
    hear_of_a_search(world)
    world.ensure()
    for kind in (("apps/v1", "Deployment"), *BESIDE):
        item = world.resources.get(*kind, world.name, NAME)
        assert item is not None
        world.resources.delete(*kind, world.name, NAME)
        world.tenants.noticed(item, deleted=True)
    world.ensure()
    assert NAME in world.deployments()
    assert all(there(world))


def test_an_operator_that_begins_takes_away_a_scheduler_that_nobody_needs_any_more(world: World) -> None:
    world.put("web")
    hear_of_a_search(world)
    world.ensure()
    world.restart()
    world.hear("web")
    world.ensure()
    assert NAME not in world.deployments()
    assert not any(there(world))
    writes = world.owned.writes
    world.ensure(later=100)
    assert world.owned.writes == writes


def test_what_people_call_like_the_scheduler_s_account_is_left_alone(world: World) -> None:
    theirs = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": world.name}}
    world.resources.apply(theirs, manager="people")
    world.put("web")
    world.ensure()
    assert there(world)[0]
