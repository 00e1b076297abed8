"""Elasticsearch and RabbitMQ beside the node: real TLS, real credentials, reached from pods as in a user's cluster."""

from __future__ import annotations

from collections.abc import Callable

from tests.cluster.node import Node
from tests.cluster.servers import Backends

MOUNT = "/run/vedette/backends"

HEALTH = f"""\
import base64, json, pathlib, ssl, urllib.request
from vedette_backends.settings import elasticsearch_settings
known = elasticsearch_settings(pathlib.Path("{MOUNT}"))
request = urllib.request.Request(known.urls[0] + "/_cluster/health")
word = base64.b64encode(f"{{known.username}}:{{known.password}}".encode()).decode()
request.add_header("Authorization", "Basic " + word)
context = ssl.create_default_context(cafile=known.ca)
print(json.load(urllib.request.urlopen(request, timeout=10, context=context))["number_of_nodes"])
"""

PUBLISH = f"""\
import pathlib, ssl
import pika
from vedette_backends.settings import rabbitmq_settings
known = rabbitmq_settings(pathlib.Path("{MOUNT}"))
parameters = pika.URLParameters(known.url + "/%2F")
parameters.ssl_options = pika.SSLOptions(ssl.create_default_context(cafile=known.ca), parameters.host)
with pika.BlockingConnection(parameters) as connection:
    channel = connection.channel()
    channel.queue_declare("from-a-pod", auto_delete=True)
    channel.basic_publish("", "from-a-pod", b"hello")
    print(channel.basic_get("from-a-pod", auto_ack=True)[2].decode())
"""

UNTRUSTED = f"""\
import pathlib, ssl, urllib.error, urllib.request
from vedette_backends.settings import elasticsearch_settings, rabbitmq_settings
folder = pathlib.Path("{MOUNT}")
for url in (elasticsearch_settings(folder).urls[0], rabbitmq_settings(folder).management_url):
    try:
        urllib.request.urlopen(url, timeout=10, context=ssl.create_default_context())
    except urllib.error.URLError as error:
        print(type(error.reason).__name__)
"""


def test_pods_reach_elasticsearch_with_the_mounted_settings(
    node: Node, backends: Backends, namespace: str, run_pod: Callable[..., str]
) -> None:
    node.apply(backends.secret("backends", namespace))
    assert run_pod(python=HEALTH, secrets={"backends": MOUNT}) == "1\n"


def test_pods_publish_to_rabbitmq_with_the_mounted_settings(
    node: Node, backends: Backends, namespace: str, run_pod: Callable[..., str]
) -> None:
    node.apply(backends.secret("backends", namespace))
    assert run_pod(python=PUBLISH, secrets={"backends": MOUNT}) == "hello\n"


def test_the_servers_certificates_are_worth_nothing_without_their_authority(
    node: Node, backends: Backends, namespace: str, run_pod: Callable[..., str]
) -> None:
    node.apply(backends.secret("backends", namespace))
    said = run_pod(python=UNTRUSTED, secrets={"backends": MOUNT})
    assert said.splitlines() == ["SSLCertVerificationError"] * 2
