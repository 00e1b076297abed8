"""CPU of the gateway per event: requests of 500 NDJSON events of 1.2 KB over loopback into the embedded broker.

    .venv/bin/python benchmarks/gateway.py [--requests 200] [--senders 4] [--route events|bulk] [--gzip]

Prints one line per stage: CPU µs per event of the gateway's process (user and system, all threads), beside what bare
orjson needs to decode the same events, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import httpx
import orjson

from vedette_backends.broker.embedded import open_broker

EVENTS = 500
TOKEN = "benchmark"
CHILD = """
import sys
from pathlib import Path
from vedette_workers.gateway.server import serve
serve(Path(sys.argv[1]), port=int(sys.argv[2]))
"""


def event(number: int) -> bytes:
    """A flat Windows event of about 1.2 KB."""
    native = {
        "EventID": 1,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "Computer": f"ws-{number % 97:03}.corp.example",
        "UtcTime": "2026-11-22 10:00:00.123",
        "ProcessGuid": f"{{a1b2c3d4-0000-0000-0000-{number:012}}}",
        "ProcessId": str(4000 + number),
        "Image": "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe",
        "FileVersion": "10.0.19041.546 (WinBuild.160101.0800)",
        "Description": "Windows PowerShell",
        "Product": "Microsoft® Windows® Operating System",
        "Company": "Microsoft Corporation",
        "OriginalFileName": "PowerShell.EXE",
        "CommandLine": f"powershell.exe -NoProfile -File C:\\scripts\\inventory.ps1 -Site {number} -Verbose",
        "CurrentDirectory": "C:\\Windows\\system32\\",
        "User": "CORP\\svc-inventory",
        "LogonGuid": "{a1b2c3d4-0000-0000-0000-000000000001}",
        "LogonId": "0x3e7",
        "TerminalSessionId": "0",
        "IntegrityLevel": "System",
        "Hashes": "SHA256=" + sha256(str(number).encode()).hexdigest(),
        "ParentImage": "C:\\Windows\\System32\\svchost.exe",
        "ParentCommandLine": "C:\\Windows\\system32\\svchost.exe -k netsvcs -p -s Schedule",
        "ParentUser": "NT AUTHORITY\\SYSTEM",
    }
    return orjson.dumps(native)


def bodies(route: str) -> bytes:
    """One request's body."""
    events = [event(number) for number in range(EVENTS)]
    if route == "bulk":
        return b"".join(b'{"create":{}}\n' + each + b"\n" for each in events)
    return b"\n".join(events) + b"\n"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def yardstick(body: bytes) -> float:
    """CPU µs per event for decoding alone."""
    lines = body.split(b"\n")[:-1]
    best = float("inf")
    for _ in range(7):
        started = time.process_time()
        for line in lines:
            orjson.loads(line)
        best = min(best, time.process_time() - started)
    return best / len(lines) * 1e6


async def send(url: str, body: bytes, headers: dict[str, str], requests: int, senders: int) -> list[float]:
    """Latencies in seconds of all requests, by several senders at once."""
    latencies: list[float] = []
    left = iter(range(requests))

    async def sender(client: httpx.AsyncClient) -> None:
        for _ in left:
            started = time.monotonic()
            response = await client.post(url, content=body, headers=headers)
            latencies.append(time.monotonic() - started)
            response.raise_for_status()

    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        await asyncio.gather(*(sender(client) for _ in range(senders)))
    return latencies


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--route", choices=["events", "bulk"], default="events")
    parser.add_argument("--filter-path", default="")
    parser.add_argument("--gzip", action="store_true")
    options = parser.parse_args()
    body = bodies(options.route)
    bare = yardstick(bodies("events"))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    if options.gzip:
        body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        (data / "run").mkdir()
        (data / "ns" / "bench").mkdir(parents=True)
        broker = open_broker(data / "ns" / "bench")
        broker.declare("events.load", max_bytes=8 << 30)
        source = {"namespace": "bench", "name": "load", "tokens": [sha256(TOKEN.encode()).hexdigest()]}
        (data / "run" / "gateway.json").write_bytes(orjson.dumps({"v": 1, "sources": [source]}))
        port = free_port()
        child = subprocess.Popen([sys.executable, "-c", CHILD, folder, str(port)])
        try:
            url = f"http://127.0.0.1:{port}"
            wait_ready(url)
            route = "/events" if options.route == "events" else "/_bulk"
            if options.filter_path:
                route += f"?filter_path={options.filter_path}"
            asyncio.run(send(url + route, body, headers, 20, options.senders))
            cpu, wall = cpu_of(child.pid), time.monotonic()
            latencies = asyncio.run(send(url + route, body, headers, options.requests, options.senders))
            cpu, wall = cpu_of(child.pid) - cpu, time.monotonic() - wall
        finally:
            child.terminate()
            child.wait()
        broker.close()
    events = options.requests * EVENTS
    latencies.sort()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{'events sent and confirmed':34} {events:>10}")
    print(f"{'bytes per event':34} {len(bodies('events')) / EVENTS:>10.0f}")
    print(f"{'gateway CPU, µs per event':34} {cpu / events * 1e6:>10.2f}")
    print(f"{'bare orjson decode, µs per event':34} {bare:>10.2f}")
    print(f"{'events per second':34} {events / wall:>10.0f}")
    middle, late = latencies[len(latencies) // 2], latencies[-1 - len(latencies) // 100]
    print(f"{'latency p50 / p99, ms':34} {middle * 1e3:>10.1f} / {late * 1e3:.1f}")
    print(f"{'peak memory, MiB':34} {peak:>10.0f}")


def wait_ready(url: str) -> None:
    """Until the gateway has its sources."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url + "/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)
    raise SystemExit("the gateway does not start")


if __name__ == "__main__":
    main()
