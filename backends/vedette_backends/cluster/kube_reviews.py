"""TokenReview and SubjectAccessReview: who somebody is, and what he may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vedette_backends.cluster.kube_api import Api
from vedette_backends.cluster.resources import Identity

_MAX_TOKEN_CHARACTERS = 16_384


def review_token(api: Api, token: str, audiences: Sequence[str]) -> Identity | None:
    """Who the bearer of a token is; None when it counts for nothing, or for none of the audiences."""
    if not token or len(token) > _MAX_TOKEN_CHARACTERS or not token.isascii() or not token.isprintable():
        return None
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, **({"audiences": list(audiences)} if audiences else {})},
    }
    status = api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body).get("status") or {}
    if status.get("authenticated") is not True:
        return None
    # An authenticator that knows nothing of audiences names none: then the token is not meant for us.
    if audiences and not set(audiences) & set(status.get("audiences") or ()):
        return None
    user = status["user"]
    extra = {name: tuple(values) for name, values in (user.get("extra") or {}).items()}
    return Identity(user["username"], user.get("uid", ""), tuple(user.get("groups") or ()), extra)


def review_access(api: Api, identity: Identity, attributes: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the authorizers allow it, and what they say of it."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": identity.user,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {name: list(values) for name, values in identity.extra.items()},
            "resourceAttributes": {name: value for name, value in attributes.items() if value},
        },
    }
    status = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body).get("status") or {}
    allowed = status.get("allowed") is True and status.get("denied") is not True
    return allowed, str(status.get("reason") or status.get("evaluationError") or "")
