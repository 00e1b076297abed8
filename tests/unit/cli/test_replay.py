"""`vedette replay`: which dead letters are sent again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vedette_backends.store.protocol import DeadLetter
from vedette_cli.data import Data


def letter(number: int, source: str = "app", reason: str = "TooLarge", **changes: Any) -> DeadLetter:
    headers = {"id": f"{number:032x}", "key": "k", "position": str(number), "keyed": "0", "ingested": "5"}
    return DeadLetter(f"letter-{number}", number, source, reason, "it was\x1b[31m too large", b"{}", headers, **changes)


@pytest.fixture
def data(folder: Path) -> Data:
    made = Data(folder / ".vedette")
    made.cluster().close()
    store, broker = made.store("shop"), made.broker("shop")
    letters = [letter(1), letter(2, reason="Poison"), letter(3, "web"), letter(4, "gone"), letter(5, state="dismissed")]
    store.put_dead_letters(letters)
    for source in ("app", "web"):
        broker.declare(f"events.{source}")
    store.close()
    broker.close()
    return made


def states(data: Data) -> dict[str, str]:
    store = data.store("shop")
    found = {one.id: one.state for one in store.search_dead_letters(state=None)[0]}
    store.close()
    return found


def waiting(data: Data, source: str) -> int:
    broker = data.broker("shop")
    found = broker.stats(f"events.{source}").ready
    broker.close()
    return found


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["letter-1"], {"letter-1"}),
        (["letter-1", "letter-1", "letter-3"], {"letter-1", "letter-3"}),
        (["letter-5"], {"letter-5"}),
        (["--all"], {"letter-1", "letter-2", "letter-3"}),
        (["--all", "--source", "app"], {"letter-1", "letter-2"}),
        (["--all", "--reason", "TooLarge"], {"letter-1", "letter-3"}),
        (["--all", "--source", "web", "--reason", "Poison"], set()),
    ],
)
def test_the_chosen_letters_are_sent_and_marked(
    run: Any, folder: Path, data: Data, arguments: list[str], sent: set[str]
) -> None:
    result = run("replay", *arguments, "-n", "shop", "--dir", folder)
    assert result.exit_code == 0, result.output
    assert f"{len(sent)} dead letters sent again" in result.output
    assert {name for name, state in states(data).items() if state == "replayed"} == sent
    assert waiting(data, "app") + waiting(data, "web") == len(sent)


def test_letters_of_a_source_that_has_no_queue_are_told_to_stay(run: Any, folder: Path, data: Data) -> None:
    result = run("replay", "--all", "-n", "shop", "--dir", folder)
    assert "1 stay" in result.stderr
    assert states(data)["letter-4"] == "waiting"


def test_a_dry_run_lists_and_sends_nothing(run: Any, folder: Path, data: Data) -> None:
    before = states(data)
    result = run("replay", "--all", "--dry-run", "-n", "shop", "--dir", folder)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    assert "letter-1  app  TooLarge  it was" in result.stdout
    assert "\x1b" not in result.stdout
    assert states(data) == before
    assert waiting(data, "app") == 0


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    "arguments",
    [
        ["-n", "shop"],
        ["letter-1"],
        ["letter-1", "--all", "-n", "shop"],
        ["letter-1", "--source", "app", "-n", "shop"],
        ["no-such-letter", "-n", "shop"],
        ["--all", "-n", "nowhere"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(run: Any, folder: Path, arguments: list[str]) -> None:
    assert run("replay", *arguments, "--dir", folder).exit_code == 2
