"""Finds the sources' tokens where the gateway's come from: Secret manifests in the folder that `vedette up` runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vedette_crds.load import load_path


class TokensError(Exception):
    """A source or its token is not in the folder; the message says which, and what to do."""


def read_tokens(folder: Path, namespace: str, sources: Iterable[str]) -> dict[str, str]:
    """Source name → token, for all the sources that are wanted.

    Raises:
        TokensError: a LogSource, its Secret or the key in it is missing, or is not text.
    """
    manifests: dict[tuple[str, str], Mapping[str, Any]] = {
        (document.kind, document.name): document.manifest
        for document in load_path(folder).documents
        if document.namespace == namespace
    }
    tokens, missing = {}, []
    for source in sources:
        try:
            tokens[source] = _token(manifests, source)
        except KeyError as error:
            missing.append(f"{source}: {error.args[0]}")
    if missing:
        raise TokensError(
            f"{folder} does not hold what the demo needs in namespace {namespace!r}: {'; '.join(missing)}. "
            "Name the folder that `vedette up` runs with --dir; the demo's own is examples/quickstart."
        )
    return tokens


def _token(manifests: Mapping[tuple[str, str], Mapping[str, Any]], source: str) -> str:
    manifest = manifests.get(("LogSource", source))
    if manifest is None:
        raise KeyError("no LogSource of that name")
    reference = manifest.get("spec", {}).get("input", {}).get("http", {}).get("tokenSecretRef")
    if reference is None:
        raise KeyError("it has no http input")
    name, key = reference["name"], reference.get("key", "token")
    secret = manifests.get(("Secret", name))
    if secret is None:
        raise KeyError(f"no Secret {name!r}")
    plain = (secret.get("stringData") or {}).get(key)
    encoded = (secret.get("data") or {}).get(key)
    if plain is None and encoded is None:
        raise KeyError(f"the Secret {name!r} has no key {key!r}")
    if plain is not None:
        return str(plain)
    try:
        return base64.b64decode(str(encoded), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise KeyError(f"the key {key!r} of the Secret {name!r} is not Base64 of text") from None
