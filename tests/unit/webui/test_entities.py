"""Who and what an alert is about, as a page lists it."""

from __future__ import annotations

from vedette_webui.entities import ALIKE, FIELDS, entities


def test_each_value_of_the_fields_that_name_somebody_is_listed_once_in_their_order() -> None:
    documents = [
        {"source.ip": ["192.0.2.1", "192.0.2.2"], "user.name": "root", "event.action": "login"},
        {"user.name": ["root", "ana"], "host.name": "web1"},
    ]
    assert entities(documents) == [
        ("host.name", "web1"),
        ("user.name", "root"),
        ("user.name", "ana"),
        ("source.ip", "192.0.2.1"),
        ("source.ip", "192.0.2.2"),
    ]
    assert [name for name, _ in entities([dict.fromkeys(FIELDS, "x")])] == list(FIELDS)


def test_of_many_values_some_are_listed_and_those_that_say_nothing_are_not() -> None:
    many = [str(number) for number in range(20)]
    assert entities([{"user.name": ["-", "", " - ", None, *many]}]) == [("user.name", each) for each in many[:ALIKE]]


def test_values_stay_as_they_are_so_that_a_search_for_them_finds_them() -> None:
    odd = "a\u202eb\n" + "x" * 500
    assert entities([{"file.path": odd, "cloud.account.id": 17}]) == [("file.path", odd), ("cloud.account.id", "17")]
