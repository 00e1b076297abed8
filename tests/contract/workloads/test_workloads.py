"""What every Workloads must do; child processes and, later, Deployments."""

import dataclasses
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.workloads.protocol import Workload, WorkloadStatus


def test_wanted_workers_run(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a"), place.worker("b")])
    until(lambda: place.words("a") == place.words("b") == ["runs"])
    assert workloads.status() == [WorkloadStatus("a", 1, 1, 0), WorkloadStatus("b", 1, 1, 0)]


def test_reconciling_the_same_changes_nothing(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    for _ in range(3):
        workloads.reconcile([place.worker("a")])
    until(lambda: place.words("a") == ["runs"])
    workloads.reconcile([place.worker("a"), place.worker("b")])
    until(lambda: place.words("b") == ["runs"])
    assert place.words("a") == ["runs"]


def test_a_worker_that_crashes_is_started_again_and_counted(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a")])
    until(lambda: len(place.said("a")) == 1)
    os.kill(place.said("a")[0][1], signal.SIGKILL)
    until(lambda: len(place.said("a")) == 2)
    assert workloads.status() == [WorkloadStatus("a", 1, 1, 1)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param("sys.exit('no such bundle')", "exited with status 1", id="status"),
        pytest.param("print('no such bundle', flush=True); os.abort()", "was killed by SIGABRT", id="signal"),
    ],
)
def test_why_a_worker_does_not_run_is_told(place: Any, until: Callable[..., None], code: str, reason: str) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a", code)])
    until(lambda: workloads.status()[0].restarts > 1 and workloads.status()[0].problem)
    (status,) = workloads.status()
    assert status.running in {0, 1}
    problem = ""

    def told() -> bool:
        nonlocal problem
        problem = workloads.status()[0].problem
        return bool(problem)

    until(told)
    assert problem.startswith(f"{reason}; starts again in ")
    assert problem.endswith("it last said: no such bundle")


def test_a_command_that_cannot_start_is_told_and_tried_again(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads._command = ("/nonexistent/vedette",)
    workloads.reconcile([Workload("a", [])])
    until(lambda: workloads.status()[0].restarts > 1)
    until(lambda: "cannot start" in workloads.status()[0].problem)


def test_what_is_not_wanted_any_more_is_asked_to_finish(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a"), place.worker("b")])
    until(lambda: place.words("a") == place.words("b") == ["runs"])
    workloads.reconcile([place.worker("b")])
    until(lambda: place.words("a") == ["runs", "finished"])
    until(lambda: list(workloads.pids()) == ["b"])
    assert place.words("b") == ["runs"]
    assert [status.name for status in workloads.status()] == ["b"]


@pytest.mark.parametrize("change", ["args", "env"])
def test_a_changed_worker_is_replaced_after_the_old_one_finished(
    place: Any, until: Callable[..., None], change: str
) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a")])
    until(lambda: place.words("a") == ["runs"])
    changed = {
        "args": place.worker("a", "say('anew'); signal.pause()"),
        "env": place.worker("a", VEDETTE_X="1"),
    }[change]
    workloads.reconcile([changed])
    until(lambda: len(place.said("a")) == 3)
    assert place.words("a") == ["runs", "finished", "anew" if change == "args" else "runs"]
    assert workloads.status()[0].restarts == 0


def test_the_environment_is_added_to(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a", "say(os.environ['VEDETTE_X']); say('PATH' in os.environ)", VEDETTE_X="1")])
    until(lambda: place.words("a")[:2] == ["1", "True"])


def test_replicas_run_side_by_side(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    three = dataclasses.replace(place.worker("a"), replicas=3)
    workloads.reconcile([three])
    until(lambda: len(place.said("a")) == 3)
    assert workloads.status() == [WorkloadStatus("a", 3, 3, 0)]
    workloads.reconcile([dataclasses.replace(three, replicas=2)])
    until(lambda: place.words("a").count("finished") == 1)
    assert workloads.status()[0].wanted == 2


def test_stop_lets_all_finish(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a"), place.worker("b")])
    until(lambda: place.words("a") == place.words("b") == ["runs"])
    workloads.stop(30)
    assert place.words("a") == place.words("b") == ["runs", "finished"]
    assert workloads.status() == []
    workloads.stop(30)
    with pytest.raises(UnavailableError):
        workloads.reconcile([])


def test_stop_ends_what_does_not_finish(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    deaf = "signal.signal(signal.SIGTERM, lambda *_: say('no')); say('runs')\nwhile True: signal.pause()"
    workloads.reconcile([place.worker("a", deaf)])
    until(lambda: place.words("a") == ["runs"])
    pid = place.said("a")[0][1]
    workloads.stop(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_that_crashes_all_the_time_does_not_delay_stop(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a", "sys.exit(1)")])
    until(lambda: workloads.status()[0].restarts > 2)
    workloads.stop(30)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "-a", "a" * 200])
def test_a_name_that_cannot_be_a_file_is_refused(place: Any, name: str) -> None:
    with pytest.raises(RefusedError):
        place.open().reconcile([Workload(name, [])])


def test_a_name_given_twice_is_refused(place: Any) -> None:
    workloads = place.open()
    with pytest.raises(RefusedError, match="twice"):
        workloads.reconcile([place.worker("a"), place.worker("a")])
    with pytest.raises(RefusedError, match="twice"):
        workloads.reconcile([place.worker("a-1"), dataclasses.replace(place.worker("a"), replicas=2)])
