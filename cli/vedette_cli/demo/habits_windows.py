"""What happens on the Windows machines on any morning, with the near misses that the rules' filters are for."""

from __future__ import annotations

import random

from vedette_cli.demo import company, shapes
from vedette_cli.demo.habits_unix import Steps

SYSTEM32 = "C:\\Windows\\System32\\"
POWERSHELL = SYSTEM32 + "WindowsPowerShell\\v1.0\\powershell.exe"
EXPLORER = "C:\\Windows\\explorer.exe"
OFFICE = "C:\\Program Files\\Microsoft Office\\root\\Office16\\"
AGENT = "C:\\Program Files\\Kestrel Bay\\Fleet Agent\\fleet-agent.exe"
BACKUP = "C:\\Program Files\\Kestrel Bay\\Backup\\kbr-backup.exe"
DEFENDER = "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4.18.26100.1-0\\MsMpEng.exe"
SYSTEM = "NT AUTHORITY\\SYSTEM"

# (image, command line, parent)
BY_PEOPLE = (
    (OFFICE + "WINWORD.EXE", '"WINWORD.EXE" /n "C:\\Users\\Public\\Documents\\offer.docx"', EXPLORER),
    (OFFICE + "EXCEL.EXE", '"EXCEL.EXE" "S:\\finance\\forecast.xlsx"', EXPLORER),
    (OFFICE + "OUTLOOK.EXE", '"OUTLOOK.EXE"', EXPLORER),
    ("C:\\Program Files\\Mozilla Firefox\\firefox.exe", '"firefox.exe" -osint', EXPLORER),
    (SYSTEM32 + "notepad.exe", "notepad.exe C:\\Temp\\notes.txt", EXPLORER),
    (SYSTEM32 + "cmd.exe", "cmd.exe", EXPLORER),
    (POWERSHELL, "powershell.exe -ExecutionPolicy Bypass -File C:\\Scripts\\inventory.ps1", EXPLORER),
    (SYSTEM32 + "rundll32.exe", "rundll32.exe shell32.dll,Control_RunDLL desk.cpl", EXPLORER),
    (SYSTEM32 + "certutil.exe", "certutil.exe -dump C:\\Temp\\kbr.cer", SYSTEM32 + "cmd.exe"),
    ("C:\\Tools\\procdump64.exe", "procdump64.exe -ma armcontrol.exe", SYSTEM32 + "cmd.exe"),
    (SYSTEM32 + "schtasks.exe", "schtasks /query /fo LIST", SYSTEM32 + "cmd.exe"),
    (
        SYSTEM32 + "cmd.exe",
        'cmd.exe /c "C:\\Program Files\\Kestrel Bay\\Label Printer\\print.cmd" 4411',
        OFFICE + "EXCEL.EXE",
    ),
)
BY_THE_SYSTEM = (
    (SYSTEM32 + "svchost.exe", "svchost.exe -k netsvcs -p -s wuauserv", SYSTEM32 + "services.exe"),
    (SYSTEM32 + "svchost.exe", "svchost.exe -k LocalService -p", SYSTEM32 + "services.exe"),
    (SYSTEM32 + "taskhostw.exe", "taskhostw.exe SYSTEM", SYSTEM32 + "svchost.exe"),
    (POWERSHELL, "powershell.exe -EncodedCommand RwBlAHQALQBTAGUAcgB2AGkAYwBlACAAQgBJAFQAUwA=", AGENT),
    (
        SYSTEM32 + "schtasks.exe",
        'schtasks /create /sc once /tn KBRUpdate /tr "C:\\Windows\\Temp\\Kestrel Bay\\updates\\setup.exe" /f',
        AGENT,
    ),
    (SYSTEM32 + "certutil.exe", "certutil.exe -urlcache -f http://pki.corp.kestrelbay.example/kbr.crl kbr.crl", AGENT),
)
DOMAINS = (
    "mail.kestrelbay.example",
    "docs.example.org",
    "update.example.com",
    "git.kestrelbay.example",
    "cdn.example.net",
)


def process_by_person(rng: random.Random) -> Steps:
    """Somebody starts a program."""
    who = rng.choice(company.PEOPLE)
    image, command, parent = rng.choice(BY_PEOPLE)
    user = f"{company.DOMAIN}\\{who.login}"
    return [
        (
            0.0,
            "windows",
            shapes.sysmon_process(who.workstation, user, image, command, parent=parent, record=rng.getrandbits(24)),
        )
    ]


def process_by_system(rng: random.Random) -> Steps:
    """A service, a task or the management agent starts a program."""
    computer = rng.choice([*company.WINDOWS_SERVERS, *(who.workstation for who in company.PEOPLE)])
    image, command, parent = rng.choice(BY_THE_SYSTEM)
    return [
        (
            0.0,
            "windows",
            shapes.sysmon_process(computer, SYSTEM, image, command, parent=parent, record=rng.getrandbits(24)),
        )
    ]


def backup_rotates_its_copy(rng: random.Random) -> Steps:
    """The backup removes the one shadow copy that it made, by its id."""
    copy = f"{rng.getrandbits(32):08x}-1d54-4b8e-9f53-{rng.getrandbits(48):012x}"
    command = f"vssadmin.exe delete shadows /shadow={{{copy}}} /quiet"
    make = shapes.sysmon_process(
        "FILE1", SYSTEM, SYSTEM32 + "vssadmin.exe", command, parent=BACKUP, record=rng.getrandbits(24)
    )
    return [(0.0, "windows", make)]


def logon(rng: random.Random) -> Steps:
    """Security 4624 and, when it is over, 4634, on a workstation or a server; now and then a wrong password before."""
    who = rng.choice(company.PEOPLE)
    computer, kind = rng.choice(((who.workstation, "2"), ("FILE1", "3"), ("FILE1", "3"), ("DC1", "3")))
    fields = {
        "TargetUserName": who.login,
        "TargetDomainName": company.DOMAIN,
        "LogonType": kind,
        "IpAddress": who.inside,
        "WorkstationName": who.workstation,
    }
    record = rng.getrandbits(24)
    steps: Steps = [
        (1.0, "windows", shapes.windows(computer, shapes.SECURITY, 4624, fields, record)),
        (rng.uniform(30, 900), "windows", shapes.windows(computer, shapes.SECURITY, 4634, fields, record + 1)),
    ]
    if rng.random() < 0.08:
        failed = {**fields, "Status": "0xc000006d", "SubStatus": "0xc000006a"}
        steps.insert(0, (0.0, "windows", shapes.windows(computer, shapes.SECURITY, 4625, failed, record - 1)))
    return steps


def provisioning(rng: random.Random) -> Steps:
    """A new workstation gets its help-desk administrator from the account that does nothing else."""
    fields = {
        "MemberSid": f"S-1-5-21-1004336348-1177238915-682003330-{rng.randrange(1100, 1400)}",
        "TargetUserName": "Administrators",
        "TargetSid": "S-1-5-32-544",
        "SubjectUserName": "svc-provision",
        "SubjectDomainName": company.DOMAIN,
    }
    who = rng.choice(company.PEOPLE)
    return [(0.0, "windows", shapes.windows(who.workstation, shapes.SECURITY, 4732, fields, rng.getrandbits(24)))]


def network(rng: random.Random) -> Steps:
    """A name is looked up (Sysmon 22) and a connection made (Sysmon 3)."""
    who = rng.choice(company.PEOPLE)
    image = rng.choice(("C:\\Program Files\\Mozilla Firefox\\firefox.exe", OFFICE + "OUTLOOK.EXE"))
    user = f"{company.DOMAIN}\\{who.login}"
    record = rng.getrandbits(24)
    address = f"198.51.100.{rng.randrange(40, 120)}"
    query = {
        "QueryName": rng.choice(DOMAINS),
        "QueryStatus": "0",
        "QueryResults": f"{address};",
        "Image": image,
        "User": user,
    }
    connection = {
        "Image": image,
        "User": user,
        "Protocol": "tcp",
        "Initiated": "true",
        "SourceIp": who.inside,
        "SourcePort": str(rng.randrange(49152, 65535)),
        "DestinationIp": address,
        "DestinationPort": "443",
    }
    return [
        (0.0, "windows", shapes.windows(who.workstation, shapes.SYSMON, 22, query, record, utc_time=True)),
        (0.2, "windows", shapes.windows(who.workstation, shapes.SYSMON, 3, connection, record + 1, utc_time=True)),
    ]


def file_saved(rng: random.Random) -> Steps:
    """Sysmon 11: a document is saved."""
    who = rng.choice(company.PEOPLE)
    target = f"C:\\Users\\{who.login}\\Documents\\draft-{rng.randrange(200)}.docx"
    data = {"Image": OFFICE + "WINWORD.EXE", "TargetFilename": target, "User": f"{company.DOMAIN}\\{who.login}"}
    return [
        (0.0, "windows", shapes.windows(who.workstation, shapes.SYSMON, 11, data, rng.getrandbits(24), utc_time=True))
    ]


def defender_scans(rng: random.Random) -> Steps:
    """Sysmon 10: Defender looks into LSASS, as it does all day."""
    who = rng.choice(company.PEOPLE)
    data = {
        "SourceImage": DEFENDER,
        "TargetImage": "C:\\Windows\\system32\\lsass.exe",
        "GrantedAccess": rng.choice(("0x1410", "0x1010")),
        "SourceUser": SYSTEM,
        "TargetUser": SYSTEM,
    }
    return [
        (0.0, "windows", shapes.windows(who.workstation, shapes.SYSMON, 10, data, rng.getrandbits(24), utc_time=True))
    ]
