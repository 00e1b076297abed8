"""Tokens come from the manifests, and a user is told all that is missing at once."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from vedette_cli.demo.shapes import SOURCES
from vedette_cli.demo.tokens import TokensError, read_tokens

SOURCE = """
apiVersion: vedette.dev/v1alpha1
kind: LogSource
metadata: {name: windows, namespace: shop}
spec:
  input: {http: {tokenSecretRef: {name: windows-token, key: secret}}}
  format: windowsEvent
  dataset: windows.events
---
apiVersion: v1
kind: Secret
metadata: {name: windows-token, namespace: shop}
"""


def test_the_quickstart_holds_a_token_for_every_source(quickstart: Path) -> None:
    tokens = read_tokens(quickstart, "quickstart", SOURCES)
    assert set(tokens) == set(SOURCES)
    assert tokens["windows"].startswith("demo-only-windows-")


def test_base64_is_understood(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SOURCE + f"data: {{secret: {base64.b64encode(b'hush').decode()}}}\n")
    assert read_tokens(tmp_path, "shop", ["windows"]) == {"windows": "hush"}


def test_another_namespaces_source_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SOURCE + "stringData: {secret: hush}\n")
    with pytest.raises(TokensError, match="windows: no LogSource"):
        read_tokens(tmp_path, "quickstart", ["windows"])


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SOURCE + "stringData: {other: hush}\n")
    with pytest.raises(TokensError) as raised:
        read_tokens(tmp_path, "shop", ["windows", "cloudtrail"])
    message = str(raised.value)
    assert "windows: the Secret 'windows-token' has no key 'secret'" in message
    assert "cloudtrail: no LogSource of that name" in message
    assert "--dir" in message


def test_an_empty_folder_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(TokensError, match="examples/quickstart"):
        read_tokens(tmp_path, "quickstart", SOURCES)
