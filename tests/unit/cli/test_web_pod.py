"""Under which names the pages answer in a cluster."""

from __future__ import annotations

from pathlib import Path

from vedette_cli.pods import Pod
from vedette_cli.web_pod import hosts


def test_the_pages_answer_under_their_services_and_their_public_name(tmp_path: Path) -> None:
    (tmp_path / "rabbitmq-url").write_text("amqps://trial-web:secret@mq.example:5671")
    found = hosts(Pod("web", "trial-system", tmp_path, 9090), "https://siem.example:8443")
    service = "trial-web.trial-system"
    assert found == ["siem.example", service, f"{service}.svc", f"{service}.svc.cluster.local"]
