"""The operator's settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette_crds.problems import ProblemsError
from vedette_operator.config import load_config, parse_config

LEAST = """
image: registry.example/vedette:1.0
releaseName: siem
releaseNamespace: vedette-system
"""


def test_three_fields_suffice() -> None:
    config = parse_config(LEAST)
    assert config.tenants == []
    assert config.responder_role == "siem-responder"
    assert (config.webhook_configuration, config.webhook_secret) == ("siem-webhook", "siem-webhook-tls")
    assert config.webhook_service == "siem-webhook"


def test_names_that_are_given_count() -> None:
    config = parse_config(LEAST + "webhook: {configuration: c, service: s, secret: t}\ntenants: [shop]")
    assert (config.webhook_configuration, config.webhook_service, config.webhook_secret) == ("c", "s", "t")
    assert config.is_tenant("shop")
    assert not config.is_tenant("bank")


def test_the_release_s_own_namespace_is_no_tenant() -> None:
    assert not parse_config(LEAST + "tenants: [shop, vedette-system]").is_tenant("vedette-system")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pipelines: {}", "did you mean pipeline?"),
        ("statusWritesPerSecond: 0", "more than 0"),
        ("logLevel: loud", "not one of"),
        ("tenants: [Shop]", "tenants[0]"),
        ("pipeline: {scale: {minReplicas: 9}}", "exceeds maxReplicas 4"),
        ("pipeline: {resources: {requests: {cpu: lots}}}", "cpu"),
        ("pipeline: {resources: {requests: {gpu: '1'}}}", "gpu"),
        ("networkPolicy: {backends: [{cidrs: [10.0.0.0/33]}]}", "not a network"),
        ("networkPolicy: {backends: [{ports: [0]}]}", "at least 1"),
        ("responder: {tolerations: [{operator: Maybe}]}", "operator"),
        ("scheduler: {scale: {minReplicas: 1}}", "scale"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        parse_config(LEAST + text, "operator.yaml")
    (problem,) = caught.value.problems
    assert told in str(problem)
    assert (problem.file, problem.line) == ("operator.yaml", 5)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ProblemsError) as caught:
        parse_config("image: Not An Image\nlogFormat: xml")
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("text", ["", "---\na: 1\n---\nb: 2", "image: [", "- a", "x" * (2 << 20)])
def test_what_is_no_settings_file_is_refused(text: str) -> None:
    with pytest.raises(ProblemsError):
        parse_config(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "binary"):
        with pytest.raises(ProblemsError, match=path.name):
            load_config(path)


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "operator.yaml"
    file.write_text(LEAST + "tenants: [shop]")
    assert load_config(file).tenants == ["shop"]
