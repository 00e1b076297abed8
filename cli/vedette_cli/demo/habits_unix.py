"""What happens on the Linux servers on any morning, with the near misses that the rules' filters are for."""

from __future__ import annotations

import random

from vedette_cli.demo import company, shapes
from vedette_cli.demo.shapes import Make

Steps = list[tuple[float, str, Make]]
"""One activity: (seconds after its beginning, source, event)."""

CRON_JOBS = (
    ("web1", "/usr/sbin/logrotate /etc/logrotate.conf"),
    ("web2", "/usr/bin/certbot -q renew"),
    ("db1", "/usr/local/bin/vacuum-stats.sh"),
    ("nas1", "/usr/sbin/zfs list -H"),
)
COMMANDS = (
    ("web1", "svc-web", "/usr/bin/curl", "curl -fsS http://localhost:8080/healthz", "/usr/bin/systemd"),
    ("web2", "svc-web", "/usr/bin/php8.3", "php8.3 artisan queue:work --once", "/usr/sbin/cron"),
    ("db1", "postgres", "/usr/bin/pg_dump", "pg_dump --schema-only shop", "/usr/bin/bash"),
    ("ci1", "svc-deploy", "/usr/bin/git", "git fetch --depth 1 origin main", "/opt/runner/runner"),
    ("ci1", "svc-deploy", "/usr/bin/python3.11", "python3 -m pytest -q", "/opt/runner/runner"),
    ("ci1", "svc-deploy", "/usr/bin/colcon", "colcon build --packages-up-to arm_control", "/opt/runner/runner"),
    ("bastion1", "jonas.reed", "/usr/bin/ssh", "ssh web1", "/usr/bin/bash"),
    ("nas1", "svc-backup", "/usr/bin/restic", "restic backup /srv --tag nightly", "/usr/local/bin/backup.sh"),
    ("web1", "svc-web", "/usr/bin/nc", "nc -z db1 5432", "/opt/fleet/health.sh"),
    ("web2", "svc-web", "/usr/bin/bash", 'bash -c "echo > /dev/tcp/db1/5432"', "/opt/fleet/wait-for-it.sh"),
    ("db1", "svc-monitor", "/usr/bin/df", "df -P -x tmpfs", "/usr/bin/node_exporter"),
)
GUESSED = ("admin", "test", "ubuntu", "oracle", "git", "ftpuser", "postgres", "pi", "deploy")


def ssh_session(rng: random.Random) -> Steps:
    """Somebody comes in with a key and leaves again; one of them is travelling."""
    who = rng.choice(company.SHELL_USERS)
    host = rng.choice(("bastion1", "bastion1", "ci1", "web1"))
    address = rng.choice((who.home, who.inside, company.TRAVELLER if who.login == "mei.tanaka" else company.OFFICE))
    pid, port = rng.randrange(900, 32000), rng.randrange(33000, 60000)
    accepted = (
        f"Accepted publickey for {who.login} from {address} port {port} ssh2: ED25519 SHA256:{rng.getrandbits(60):015x}"
    )
    opened = f"pam_unix(sshd:session): session opened for user {who.login}(uid={rng.randrange(1000, 1040)}) by (uid=0)"
    closed = f"pam_unix(sshd:session): session closed for user {who.login}"
    return [
        (0.0, "linux-auth", shapes.syslog(host, "sshd", pid, accepted)),
        (0.1, "linux-auth", shapes.syslog(host, "sshd", pid, opened)),
        (rng.uniform(60, 1800), "linux-auth", shapes.syslog(host, "sshd", pid, closed)),
    ]


def ssh_typo(rng: random.Random) -> Steps:
    """A password mistyped once or twice, then right."""
    who = rng.choice(company.SHELL_USERS)
    pid, port = rng.randrange(900, 32000), rng.randrange(33000, 60000)
    tries = rng.choice((1, 1, 2))
    end = f"for {who.login} from {who.inside} port {port} ssh2"
    wrong: Steps = [
        (2.5 * count, "linux-auth", shapes.syslog("ci1", "sshd", pid, f"Failed password {end}"))
        for count in range(tries)
    ]
    return [*wrong, (2.5 * tries + 1, "linux-auth", shapes.syslog("ci1", "sshd", pid, f"Accepted password {end}"))]


def ssh_background(rng: random.Random) -> Steps:
    """The guessing that every open port sees all day; nobody gets in."""
    address = f"203.0.113.{rng.randrange(130, 250)}"
    pid, port = rng.randrange(900, 32000), rng.randrange(33000, 60000)
    message = f"Failed password for invalid user {rng.choice(GUESSED)} from {address} port {port} ssh2"
    return [(0.0, "linux-auth", shapes.syslog("bastion1", "sshd", pid, message))]


def backup_as_root(rng: random.Random) -> Steps:
    """The backup server fetches as root, from inside: root, but not from abroad."""
    message = (
        f"Accepted publickey for root from 10.20.2.30 port {rng.randrange(33000, 60000)} ssh2: ED25519 SHA256:backup"
    )
    host = rng.choice(("web1", "web2", "db1"))
    return [(0.0, "linux-auth", shapes.syslog(host, "sshd", rng.randrange(900, 32000), message))]


def sudo(rng: random.Random) -> Steps:
    """People become root, services run the one command that they may."""
    if rng.random() < 0.4:
        host, user, command = "nas1", "svc-backup", "/usr/local/bin/backup.sh --all"
    else:
        user = rng.choice(company.ADMINS).login
        host = rng.choice(tuple(company.LINUX_SERVERS))
        command = rng.choice(
            ("/usr/bin/systemctl status nginx", "/usr/bin/apt-get update", "/bin/bash", "/usr/bin/journalctl -n 50")
        )
    message = f"{user} : TTY=pts/{rng.randrange(4)} ; PWD=/home/{user} ; USER=root ; COMMAND={command}"
    return [(0.0, "linux-auth", shapes.syslog(host, "sudo", rng.randrange(900, 32000), message))]


def cron(rng: random.Random) -> Steps:
    """A job by the clock: its session, and its process."""
    host, command = rng.choice(CRON_JOBS)
    pid = rng.randrange(900, 32000)
    return [
        (
            0.0,
            "linux-auth",
            shapes.syslog(host, "CRON", pid, "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
        ),
        (
            0.1,
            "linux-processes",
            shapes.linux_process(
                host, "root", command, executable=command.split()[0], parent="/usr/sbin/cron", pid=pid + 1
            ),
        ),
        (1.5, "linux-auth", shapes.syslog(host, "CRON", pid, "pam_unix(cron:session): session closed for user root")),
    ]


def process(rng: random.Random) -> Steps:
    """A program starts on a server."""
    host, user, executable, command, parent = rng.choice(COMMANDS)
    make = shapes.linux_process(
        host, user, command, executable=executable, parent=parent, pid=rng.randrange(900, 32000)
    )
    return [(0.0, "linux-processes", make)]
