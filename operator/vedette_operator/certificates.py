"""The webhook's certificate: made, renewed and told to the API server by the operator, without anything else installed.

Pure functions; times are arguments. Every renewal makes an authority of its own, signs one certificate with it and
forgets its key: nobody can ever sign another one. The API server goes on trusting the authorities before it, so that
nothing is refused while kubelets bring the new certificate to the pods.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
BUNDLE: Final = "ca.crt"
"""Keys of the Secret: the serving certificate, its key, and the authorities to trust, the present one first."""
AUTHORITY_LIFE: Final = dt.timedelta(days=3650)
LIFE: Final = dt.timedelta(days=90)
SKEW: Final = dt.timedelta(minutes=5)
AUTHORITIES_KEPT: Final = 3
"""In the bundle: the present one, and two before it for pods that are late."""

Data = Mapping[str, bytes]
"""The Secret's data, decoded."""


def service_hosts(service: str, namespace: str) -> tuple[str, ...]:
    """The names under which a Service is called from inside a cluster; API servers use the first."""
    return (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}")


def make(hosts: Sequence[str], now: dt.datetime, previous: Data | None = None, also: bytes = b"") -> dict[str, bytes]:
    """Data of a Secret with a new certificate.

    Args:
        hosts: DNS names that it is for.
        now: with its time zone.
        previous: data of the Secret that it replaces: its authorities stay trusted as long as they are valid.
        also: further authorities that may have signed what pods serve now; PEM.
    """
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    certificate = _certificate(key, hosts, now, authority, authority_key)
    known = dict.fromkeys([*_authorities((previous or {}).get(BUNDLE, b"")), *_authorities(also)])
    older = [one for one in known if one.not_valid_before_utc <= now < one.not_valid_after_utc]
    trusted = [authority, *older][:AUTHORITIES_KEPT]
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {CERTIFICATE: _pem(certificate), KEY: private, BUNDLE: b"".join(map(_pem, trusted))}


def needs_renewal(data: Data | None, now: dt.datetime, hosts: Sequence[str]) -> str | None:
    """Why the Secret's certificate has to be made anew, for a log; None when it is good.

    Args:
        data: the Secret's; None when there is no Secret.
        now: with its time zone.
        hosts: DNS names that the certificate must be for.
    """
    if data is None:
        return "there is none yet"
    missing = [name for name in (CERTIFICATE, KEY, BUNDLE) if not data.get(name)]
    if missing:
        return f"the Secret has no {' and no '.join(missing)}"
    try:
        certificate = x509.load_pem_x509_certificate(data[CERTIFICATE])
        key = serialization.load_pem_private_key(data[KEY], None)
        if key.public_key() != certificate.public_key():
            return "the key belongs to another certificate"
        authority = x509.load_pem_x509_certificate(data[BUNDLE])
        certificate.verify_directly_issued_by(authority)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature) as error:
        return f"it cannot be used: {type(error).__name__} {error}".rstrip()
    absent = sorted(set(hosts) - set(names.value.get_values_for_type(x509.DNSName)))
    if absent:
        return f"it is not for {', '.join(absent)}"
    return _too_old(certificate, authority, now)


def _too_old(certificate: x509.Certificate, authority: x509.Certificate, now: dt.datetime) -> str | None:
    start = max(certificate.not_valid_before_utc, authority.not_valid_before_utc)
    end = min(certificate.not_valid_after_utc, authority.not_valid_after_utc)
    if now < start:
        return f"it is not valid before {start:%Y-%m-%d %H:%M}"
    if now >= end:
        return f"it ended on {end:%Y-%m-%d}"
    if now >= start + (end - start) * 2 / 3:
        return f"two thirds of its time have passed, it ends on {end:%Y-%m-%d}"
    return None


def secret_manifest(name: str, namespace: str, data: Data, labels: Mapping[str, str]) -> dict[str, Any]:
    """The Secret, for server-side apply."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "type": "kubernetes.io/tls",
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def decoded(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """Data of a Secret as the API gives it; what is not base64 is left out."""
    found: dict[str, bytes] = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (ValueError, TypeError):
            continue
    return found


def trusted(configuration: Mapping[str, Any]) -> bytes:
    """The authorities that a ValidatingWebhookConfiguration trusts, PEM; empty for what is not base64."""
    clients = [webhook.get("clientConfig") or {} for webhook in configuration.get("webhooks") or ()]
    bundles = {client.get("caBundle") or "" for client in clients} - {""}
    try:
        return b"\n".join(base64.b64decode(bundle, validate=True) for bundle in sorted(bundles))
    except ValueError:
        return b""


def ca_bundle_patch(configuration: Mapping[str, Any], bundle: bytes) -> dict[str, Any] | None:
    """What makes a ValidatingWebhookConfiguration trust the bundle; None when it does already.

    The list of webhooks is keyed by their names, so it serves for server-side apply and for a strategic merge patch
    alike, and touches nothing else of them.
    """
    wanted = base64.b64encode(bundle).decode()
    webhooks = configuration.get("webhooks") or []
    if all((webhook.get("clientConfig") or {}).get("caBundle") == wanted for webhook in webhooks):
        return None
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": configuration["metadata"]["name"]},
        "webhooks": [{"name": webhook["name"], "clientConfig": {"caBundle": wanted}} for webhook in webhooks],
    }


def _authority(key: ec.EllipticCurvePrivateKey, now: dt.datetime) -> x509.Certificate:
    serial = x509.random_serial_number()
    # Each has a name of its own, so that a bundle of several leaves no doubt about who signed.
    name = _name(f"Vedette webhook authority {serial % 16**10:010x}")
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key, serial, now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    now: dt.datetime,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    # A common name has 64 characters at most, which a Service may exceed; clients read the alternative names.
    subject = _name("vedette-webhook")
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        _builder(subject, authority.subject, key, x509.random_serial_number(), now, LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: dt.datetime,
    life: dt.timedelta,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _authorities(bundle: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(bundle)
    except ValueError:
        return []


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
