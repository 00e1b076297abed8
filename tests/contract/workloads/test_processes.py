"""What only child processes promise: no orphans, logs, sessions."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette_backends.workloads.log import WorkerLog
from vedette_backends.workloads.parent import PARENT_PIPE, watch_parent
from vedette_backends.workloads.replica import Backoff

_SUPERVISOR = textwrap.dedent("""
    import ast, signal, sys
    from pathlib import Path
    from vedette_backends.workloads.processes import ProcessWorkloads
    from vedette_backends.workloads.protocol import Workload
    command, folder, workers = ast.literal_eval(sys.argv[1])
    workloads = ProcessWorkloads(command, Path(folder) / "logs", Path(folder) / "run")
    workloads.reconcile([Workload(name, args) for name, args in workers])
    signal.pause()
""")


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("say('runs'); signal.pause()", id="waiting"),
        pytest.param(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); say('runs')\nwhile True: pass", id="busy and deaf"
        ),
        pytest.param("import re; say('runs'); re.match('(a*)*b', 'a' * 40)", id="hanging in C"),
    ],
)
def test_no_worker_outlives_a_killed_supervisor(place: Any, until: Callable[..., None], code: str) -> None:
    workers = [(worker.name, list(worker.args)) for worker in (place.worker("a", code), place.worker("b", code))]
    configuration = repr((list(place.command), str(place.folder), workers))
    with subprocess.Popen([sys.executable, "-c", _SUPERVISOR, configuration]) as supervisor:
        until(lambda: place.words("a") == place.words("b") == ["runs"])
        supervisor.kill()
    pids = [place.said(name)[0][1] for name in "ab"]
    until(lambda: not any(map(_is_alive, pids)))


def test_the_end_of_the_pipe_ends_a_worker_where_the_kernel_does_not() -> None:
    read, write = os.pipe()
    code = "import sys; sys.platform = 'other'\nfrom vedette_backends.workloads.parent import watch_parent\n"
    code += "import signal; print(watch_parent(), flush=True); signal.pause()"
    environment = {**os.environ, PARENT_PIPE: str(read)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, pass_fds=[read], env=environment, stdout=subprocess.PIPE, text=True) as worker:
        os.close(read)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "True\n"
        os.close(write)
        assert worker.wait(30) == -signal.SIGKILL


def test_a_worker_started_by_hand_watches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PARENT_PIPE, raising=False)
    assert not watch_parent()


def test_what_a_worker_leaves_behind_ends_with_it(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a", "os.fork(); say('runs'); signal.pause()")])
    until(lambda: len(place.said("a")) == 2)
    (leader,) = workloads.pids().values()
    (other,) = {pid for _, pid in place.said("a")} - {leader}
    os.kill(leader, signal.SIGKILL)
    until(lambda: not _is_alive(other))


def test_ctrl_c_reaches_the_supervisor_only(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a")])
    until(lambda: place.words("a") == ["runs"])
    (pid,) = workloads.pids().values()
    assert os.getsid(pid) == os.getpgid(pid) == pid


def test_a_pid_file_lies_there_while_a_worker_runs(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a")])
    until(lambda: place.words("a") == ["runs"])
    path = place.folder / "run" / "a.pid"
    assert int(path.read_text()) == place.said("a")[0][1]
    workloads.stop(30)
    assert not path.exists()


def test_what_a_worker_says_is_in_its_log(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    code = "print('to output'); sys.stdout.flush(); print('to error', file=sys.stderr); say('done'); signal.pause()"
    workloads.reconcile([place.worker("a", code)])
    log = place.folder / "logs" / "a.log"
    until(lambda: place.words("a") == ["done"])
    workloads.stop(30)
    assert log.read_text().splitlines() == ["to output", "to error"]
    assert log.stat().st_mode & 0o777 == 0o600


def test_last_words_are_not_lost(place: Any, until: Callable[..., None]) -> None:
    workloads = place.open()
    workloads.reconcile([place.worker("a", "os.write(2, b'x' * 60000 + b'\\nend\\n'); os._exit(1)")])
    until(lambda: "it last said" in workloads.status()[0].problem)
    assert (place.folder / "logs" / "a.log").read_bytes().startswith(b"x" * 60000 + b"\nend\n")


def test_a_log_is_bounded(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "a.log", max_bytes=1000, kept=3)
    for number in range(500):
        log.write(b"line %d\n" % number)
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    text = b"".join((tmp_path / name).read_bytes() for name in ("a.log.2", "a.log.1", "a.log"))
    assert text.endswith(b"line 499\n")
    assert text.count(b"line") > 200


@given(st.lists(st.binary(max_size=60)))
def test_last_lines_do_not_depend_on_how_output_is_cut(chunks: list[bytes]) -> None:
    whole, cut = (WorkerLog(Path("/dev/null"), max_bytes=1 << 40) for _ in range(2))
    whole.write(b"".join(chunks))
    for chunk in chunks:
        cut.write(chunk)
    whole.close()
    cut.close()
    assert whole.last_lines() == cut.last_lines()
    assert all(line.isprintable() for line in cut.last_lines())


def test_a_log_that_cannot_be_written_is_counted_not_fatal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    log = WorkerLog(tmp_path / "logs" / "a.log")
    log.write(b"one\n")
    log.write(b"two\n")
    assert log.lost_bytes == 8
    assert log.last_lines() == ["one", "two"]
    assert len(caplog.records) == 1


@given(st.integers(1, 10_000))
def test_pauses_grow_to_a_bound(failures: int) -> None:
    backoff = Backoff()
    assert backoff.delay(1) == 0.2
    assert backoff.delay(failures) <= backoff.delay(failures + 1) <= 10.0
    assert backoff.delay(7) == 10.0
