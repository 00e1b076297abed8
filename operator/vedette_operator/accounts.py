"""Users, keys and the Secrets that hold them: who Vedette's parts and foreign publishers are at the backends.

A password is made once and lives in the Secret: whoever deletes the Secret gets a new one, a restart changes nothing.
"""

from __future__ import annotations

import logging
import secrets as random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from vedette_backends.broker import rabbitmq_roles as roles
from vedette_backends.errors import RefusedError
from vedette_backends.settings import elasticsearch_settings, rabbitmq_settings
from vedette_operator.config import OperatorConfig
from vedette_operator.desired import credentials, names
from vedette_operator.desired.credentials import Account, Endpoints
from vedette_operator.desired.names import Document, Manifest
from vedette_operator.desired.source import Source
from vedette_operator.owned import Owned

log = logging.getLogger(__name__)

PASSWORD_BYTES = 32
Part = Literal["gateway", "librarian", "web"]
PARTS: dict[Part, Callable[[], roles.Permissions]] = {
    "gateway": roles.gateway,
    "librarian": roles.librarian,
    "web": roles.gateway,
}
"""The release's own parts, and what each may do in every tenant's virtual host; the web UI replays dead letters."""


class BrokerAdmin(Protocol):
    """RabbitMQ's management. Everything is idempotent and raises UnavailableError and RefusedError."""

    def ensure_vhost(self, namespace: str) -> str:
        """The namespace's virtual host; its name."""

    def ensure_user(self, name: str, password: str) -> None:
        """A user with this password."""

    def ensure_permissions(self, name: str, vhost: str, configure: str, write: str, read: str) -> None:
        """What a user may do in a virtual host."""

    def delete_user(self, name: str) -> None:
        """No error when there is none."""

    def delete_vhost(self, namespace: str) -> None:
        """Remove it with everything in it; no error when there is none."""

    def vhosts(self) -> list[str]:
        """Names of all virtual hosts."""


class StoreAdmin(Protocol):
    """Elasticsearch's management. Everything is idempotent and raises UnavailableError and RefusedError."""

    def ensure_templates(self, namespace: str, classes: Sequence[str]) -> None:
        """Templates of the namespace's indices, of events for these retention classes."""

    def ensure_key(self, name: str, role: str, namespaces: Sequence[str], known: str) -> str:
        """An API key as it stands behind `Authorization: ApiKey`: `known` if that one is as it should be."""

    def invalidate_keys(self, name: str) -> None:
        """No key of this name counts any more."""

    def drop_namespace(self, namespace: str) -> None:
        """Remove all indices and templates of the namespace."""

    def delete_source_events(self, namespace: str, source: str) -> None:
        """Remove the stored events of a source."""


def endpoints(folder: Path) -> Endpoints:
    """Where the backends are, from the folder that the administrator's Secret is mounted at.

    Raises:
        RefusedError: something is missing there.
    """
    rabbitmq, elasticsearch = rabbitmq_settings(folder), elasticsearch_settings(folder)
    return Endpoints(
        rabbitmq=credentials.without_credentials(rabbitmq.url),
        elasticsearch=",".join(elasticsearch.urls),
        rabbitmq_ca=rabbitmq.ca.read_text() if rabbitmq.ca else "",
        elasticsearch_ca=elasticsearch.ca.read_text() if elasticsearch.ca else "",
    )


class Accounts:
    """Makes them, one step each, so that a failure of one backend is told as such.

    Args:
        where: gives the backends' addresses; called each time, since they may change.
        token: makes a password of so many random bytes.
    """

    def __init__(
        self,
        config: OperatorConfig,
        owned: Owned,
        broker: BrokerAdmin,
        store: StoreAdmin,
        where: Callable[[], Endpoints],
        *,
        token: Callable[[int], str] = random.token_urlsafe,
    ) -> None:
        self._config = config
        self._owned = owned
        self._broker = broker
        self._store = store
        self._where = where
        self._token = token

    # a namespace's workers ------------------------------------------------------------------------------------------
    def worker(self, namespace: str) -> Account:
        """The account of a namespace's workers as its Secret has it, with a new password where it has none."""
        found = self._secret(namespace, names.BACKENDS_SECRET)
        return self._with_password(credentials.account_in(found, names.worker_user(namespace)))

    def worker_user(self, namespace: str, account: Account) -> None:
        """The virtual host, and the workers' user in it."""
        vhost = self._broker.ensure_vhost(namespace)
        self._broker.ensure_user(account.user, account.password)
        self._permit(account.user, vhost, roles.worker())

    def worker_key(self, namespace: str, account: Account) -> Account:
        """The account with the workers' key to the store."""
        key = self._store.ensure_key(names.worker_user(namespace), "worker", [namespace], account.api_key)
        return Account(account.user, account.password, key)

    def worker_secret(self, namespace: str, account: Account, owners: Sequence[Document]) -> str:
        """The Secret that workers mount; the hash of what is in it."""
        data = credentials.backends_data(self._where(), account)
        labelled = names.labels(names.PIPELINE)
        self._owned.apply(credentials.secret(namespace, names.BACKENDS_SECRET, labelled, data, owners))
        return credentials.data_hash(data)

    def remove_worker(self, namespace: str) -> None:
        """No user, no key, no Secret."""
        self._broker.delete_user(names.worker_user(namespace))
        self._store.invalidate_keys(names.worker_user(namespace))
        self._delete_secret(namespace, names.BACKENDS_SECRET)

    # foreign publishers ---------------------------------------------------------------------------------------------
    def publisher_secret(self, namespace: str, source: Source, owners: Sequence[Document]) -> str:
        """The Secret of those who publish a source's events; their password, empty where there are none."""
        name, user = names.publisher_secret(source.name), names.publisher_user(namespace, source.name)
        there = self._secret(namespace, name)
        if not source.exchange:
            if _is_ours(there):  # the source had an AMQP input before
                self.remove_publisher(namespace, source.name)
            return ""
        found = credentials.decoded(there)
        password = found.get("password") if found.get("username") == user else ""
        password = password or self._token(PASSWORD_BYTES)
        data = credentials.publisher_data(self._where(), namespace, source, password)
        labelled = names.labels(names.PIPELINE, source=source.name)
        self._owned.apply(credentials.secret(namespace, name, labelled, data, owners))
        return password

    def publisher_user(self, namespace: str, source: Source, password: str) -> None:
        """The user that they publish as; RefusedError for an exchange that cannot be given to them."""
        try:
            allowed = roles.publisher(source.exchange)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        user = names.publisher_user(namespace, source.name)
        self._broker.ensure_user(user, password)
        self._permit(user, names.worker_user(namespace), allowed)

    def remove_publisher(self, namespace: str, source: str) -> None:
        """No user, no Secret."""
        self._broker.delete_user(names.publisher_user(namespace, source))
        self._delete_secret(namespace, names.publisher_secret(source))

    # the release ----------------------------------------------------------------------------------------------------
    def part(self, part: Part, namespaces: Sequence[str]) -> None:
        """User, key and Secret of one of the release's own parts, with rights in these tenants' namespaces."""
        config = self._config
        user = f"{config.release_name}-{part}"
        secret = f"{user}-backends"
        account = credentials.account_in(self._secret(config.release_namespace, secret), user)
        account = self._with_password(account)
        self._broker.ensure_user(account.user, account.password)
        there = set(self._broker.vhosts())
        for namespace in namespaces:
            if names.worker_user(namespace) in there:
                self._permit(account.user, names.worker_user(namespace), PARTS[part]())
        key = self._store.ensure_key(user, part, [config.release_namespace, *namespaces], account.api_key)
        data = credentials.backends_data(self._where(), Account(account.user, account.password, key))
        labelled = names.labels(part)
        self._owned.apply(credentials.secret(config.release_namespace, secret, labelled, data))

    # pieces ---------------------------------------------------------------------------------------------------------
    def _with_password(self, account: Account) -> Account:
        if account.password:
            return account
        return Account(account.user, self._token(PASSWORD_BYTES), account.api_key)

    def _permit(self, user: str, vhost: str, allowed: roles.Permissions) -> None:
        self._broker.ensure_permissions(user, vhost, allowed.configure, allowed.write, allowed.read)

    def _secret(self, namespace: str, name: str) -> Manifest | None:
        return self._owned.get("v1", "Secret", namespace, name)

    def _delete_secret(self, namespace: str, name: str) -> None:
        try:
            self._owned.delete("v1", "Secret", namespace, name)
        except RefusedError as error:
            # A namespace that is being deleted has lost our rights in it already, and takes the Secret with it.
            log.info("the Secret %s/%s is left to the garbage collector: %s", namespace, name, error)


def _is_ours(manifest: Manifest | None) -> bool:
    labelled = (manifest or {}).get("metadata", {}).get("labels") or {}
    return bool(labelled.get(names.MANAGED_BY) == names.OURS[names.MANAGED_BY])
