"""LogSource: one way in for events, and what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds.common import (
    ConfigMapKeyRef,
    Count,
    Dataset,
    Duration,
    EventMap,
    FieldName,
    Line,
    Logsource,
    ObjectName,
    RelativePath,
    SecretKeyRef,
    Text,
    Timestamp,
    Url,
    VolumeFile,
    Word,
    Zone,
)
from vedette_crds.model import Checked, Fault, Model, Opt, Value, unique
from vedette_crds.resource import AGE, READY, REASON, Column, Resource, ResourceStatus

Port = Annotated[int, Field(ge=1, le=65_535)]
EMPTY_OBJECT: dict[str, Any] = {"default": {}}


class HttpInput(Model):
    """Events sent to the gateway: JSON, NDJSON, Elasticsearch `_bulk`, or MozDef's routes."""

    token_secret_ref: SecretKeyRef = Field(
        description="The token that senders show, as Bearer, as Basic password, or as the key part of ApiKey. "
        "It decides the namespace and the source, so no two sources may share one."
    )


class AmqpInput(Model):
    """Events published to RabbitMQ directly, one per message."""

    exchange: Line = Field("eventtask", description="The topic exchange; the default is MozDef's.")
    routing_keys: Annotated[list[Line], Field(min_length=1, max_length=32)] = Field(
        default_factory=lambda: ["eventtask"],
        json_schema_extra={"default": ["eventtask"]},
        description="What the source's queue is bound with.",
    )


class SyslogInput(Model):
    """Events that arrive by syslog."""

    port: Port = Field(description="The port to listen on.")
    transport: Literal["udp", "tcp", "tls"] = Field("tls", description="How messages arrive.")
    certificate_secret_ref: Opt[ObjectName] = Field(None, description="Secret with `tls.crt` and `tls.key`, for `tls`.")


class OtlpInput(Model):
    """Log records by OpenTelemetry's protocol over HTTP."""

    token_secret_ref: SecretKeyRef = Field(description="The token that senders show as Bearer.")


class KubernetesAuditInput(Model):
    """Audit events that an API server sends to its webhook backend."""

    token_secret_ref: SecretKeyRef = Field(description="The token in the API server's webhook configuration.")


class SqsInput(Model):
    """Messages of an Amazon SQS queue."""

    queue_url: Url = Field(description="Address of the queue.")
    region: Opt[Word] = Field(None, description="Region of the queue, when its address does not say it.")
    credentials_secret_ref: Opt[ObjectName] = Field(
        None, description="Secret with `accessKeyId` and `secretAccessKey`; without it the pod's own identity is used."
    )


class S3Input(Model):
    """Objects of an S3 bucket, as they are added."""

    bucket: Word = Field(description="Name of the bucket.")
    prefix: Opt[RelativePath] = Field(None, description="Read only objects whose name begins so.")
    region: Opt[Word] = Field(None, description="Region of the bucket.")
    endpoint: Opt[Url] = Field(None, description="Address of the service, when it is not Amazon's.")
    queue_url: Opt[Url] = Field(
        None, description="SQS queue of the bucket's notifications; without it the bucket is listed."
    )
    every: Duration = Field("1m", description="How often to list the bucket, when there is no queue.")
    credentials_secret_ref: Opt[ObjectName] = Field(
        None, description="Secret with `accessKeyId` and `secretAccessKey`; without it the pod's own identity is used."
    )


class PubsubInput(Model):
    """Messages of a Google Pub/Sub subscription."""

    project: Word = Field(description="The project.")
    subscription: Word = Field(description="The subscription.")
    credentials_secret_ref: Opt[ObjectName] = Field(
        None, description="Secret with the service account's `key.json`; without it the pod's own identity is used."
    )


class PollInput(Model):
    """An HTTP API that is asked again and again."""

    connector: Word = Field(description="Which collector that ships knows the API.")
    url: Opt[Url] = Field(None, description="Address of the API, when the collector does not know it.")
    every: Duration = Field("1m", description="How often to ask.")
    credentials_secret_ref: Opt[ObjectName] = Field(None, description="Secret with what the collector needs.")


class FileInput(Checked):
    """Lines of a file or of objects on a volume."""

    ONE_OF = ("pvc", "path")

    pvc: Opt[VolumeFile] = Field(None, description="A file on a persistent volume.")
    path: Opt[Annotated[str, StringConstraints(min_length=1, max_length=512)]] = Field(
        None, description="A file of the machine on which `vedette up` runs. Not for clusters."
    )
    start: Literal["beginning", "end"] = Field(
        "beginning", description="Where to begin in a file that is new to Vedette."
    )


class Input(Checked):
    """How events come in: exactly one."""

    ONE_OF = ("http", "amqp", "syslog", "otlp", "kubernetesAudit", "sqs", "s3", "pubsub", "poll", "file")

    http: Opt[HttpInput] = Field(None, description="Sent to the gateway over HTTP.")
    amqp: Opt[AmqpInput] = Field(None, description="Published to RabbitMQ directly.")
    syslog: Opt[SyslogInput] = Field(None, description="Received by syslog.")
    otlp: Opt[OtlpInput] = Field(None, description="Received by OpenTelemetry's protocol.")
    kubernetes_audit: Opt[KubernetesAuditInput] = Field(
        None, description="Received from an API server's audit webhook."
    )
    sqs: Opt[SqsInput] = Field(None, description="Fetched from an Amazon SQS queue.")
    s3: Opt[S3Input] = Field(None, description="Fetched from an S3 bucket.")
    pubsub: Opt[PubsubInput] = Field(None, description="Fetched from a Google Pub/Sub subscription.")
    poll: Opt[PollInput] = Field(None, description="Fetched from an HTTP API.")
    file: Opt[FileInput] = Field(None, description="Read from a file.")


class NoOptions(Model):
    """A conversion without settings: `{}`."""


class NumberConversion(Model):
    """Text or a number becomes a number."""

    multiply: Annotated[float, Field(ge=-1e15, le=1e15)] = Field(
        1, description="Multiply by this, as 1000000 for milliseconds to nanoseconds."
    )


class TimestampConversion(Model):
    """Text or a number becomes a time."""

    timezone: Opt[Zone] = Field(None, description="Zone of times that name none; the source's by default.")


class SplitConversion(Model):
    """Text becomes a list."""

    separator: Annotated[str, StringConstraints(min_length=1, max_length=16)] = Field(
        ",", description="What stands between the parts; blanks around them are removed."
    )


class Conversion(Checked):
    """How a value changes on its way: exactly one."""

    ONE_OF = ("string", "integer", "number", "boolean", "ip", "lowercase", "uppercase", "timestamp", "split")

    string: Opt[NoOptions] = Field(None, description="To text.")
    integer: Opt[NoOptions] = Field(None, description="To an integer.")
    number: Opt[NumberConversion] = Field(None, description="To a number, perhaps multiplied.")
    boolean: Opt[NoOptions] = Field(None, description="To true or false, from true/false, yes/no, 1/0.")
    ip: Opt[NoOptions] = Field(None, description="To an address, without port, brackets or zone.")
    lowercase: Opt[NoOptions] = Field(None, description="To lower case.")
    uppercase: Opt[NoOptions] = Field(None, description="To upper case.")
    timestamp: Opt[TimestampConversion] = Field(None, description="To a time.")
    split: Opt[SplitConversion] = Field(None, description="To a list.")


class When(Checked):
    """A condition on the event: exactly one."""

    ONE_OF = ("has", "lacks", "equals")

    has: Opt[FieldName] = Field(None, description="The event has this field.")
    lacks: Opt[FieldName] = Field(None, description="The event does not have this field.")
    equals: Opt[EventMap] = Field(None, description="All of these fields have these values.")


class MappingStep(Checked):
    """One step: move a field, or set one."""

    ONE_OF = ("from", "set")
    CEL = (
        {"rule": "has(self.from) == has(self.to)", "message": "from and to belong together"},
        {"rule": "has(self.from) || !has(self.convert)", "message": "convert belongs to from and to"},
    )

    from_: Opt[FieldName] = Field(None, alias="from", description="The field to move.")
    to: Opt[FieldName] = Field(None, description="Its new name, an ECS field where there is one.")
    convert: Opt[Conversion] = Field(None, description="How the value changes on the way.")
    set: Opt[FieldName] = Field(None, description="The field to set.")
    value: Opt[Any] = Field(
        None,
        description="What `set` sets: text, a number, true or false, or a list of those.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    when: Opt[When] = Field(None, description="Do this step only then.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Fields that belong together."""
        yield from super().across(data)
        for one, other in (("from", "to"), ("set", "value")):
            if (one in data) != (other in data):
                yield Fault(f"{one} and {other} belong together", hint=f"add {other if one in data else one}")
        if "convert" in data and "from" not in data:
            yield Fault("convert belongs to from and to", hint="remove it", at=("convert",))


class Workers(Checked):
    """Who processes the source's events."""

    CEL = (
        {
            # The API server tries a rule on the field's own default, {}, before it fills in the defaults inside.
            "rule": "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "message": "minReplicas exceeds maxReplicas",
        },
    )

    mode: Literal["shared", "dedicated"] = Field(
        "shared", description="`shared`: the namespace's workers; `dedicated`: workers of its own."
    )
    min_replicas: Annotated[int, Field(ge=0, le=100)] = Field(1, description="At least so many dedicated workers.")
    max_replicas: Annotated[int, Field(ge=1, le=100)] = Field(4, description="At most so many dedicated workers.")
    lag_target: Duration = Field("10s", description="Add workers while events wait longer than this.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """The smallest number is not above the largest."""
        least, most = data.get("minReplicas", 1), data.get("maxReplicas", 4)
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield Fault(f"minReplicas {least} exceeds maxReplicas {most}", hint="swap or equal them")


class Limits(Model):
    """What the gateway accepts before it answers 429 or 413."""

    events_per_second: Annotated[int, Field(ge=1, le=1_000_000)] = Field(5_000, description="Lasting rate.")
    burst: Annotated[int, Field(ge=1, le=10_000_000)] = Field(20_000, description="Events beyond the rate at once.")
    max_event_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = Field(262_144, description="Size of one event.")


class Retention(Model):
    """How long events stay."""

    search: Literal["7d", "30d", "90d", "400d"] = Field("30d", description="How long they can be searched.")
    archive: Opt[Duration] = Field(None, description="How long snapshots of them are kept.")


class Silence(Model):
    """When a quiet source is a finding."""

    after: Duration = Field(description="`Receiving` becomes False when nothing came for so long.")


class WindowsOptions(Model):
    """Choices for Windows events."""

    security4688: Literal["security", "processCreation"] = Field(
        "security",
        description="What event 4688 of the Security channel counts as: `processCreation` lets rules for process "
        "creation see it too, which helps where Sysmon is missing and costs duplicates where it is not.",
    )


class SourceTest(Model):
    """One raw input and what must come of it."""

    name: Line = Field(description="What the test shows.")
    input: Value = Field(
        description="The raw event: text as it arrives, or an object that is sent as JSON.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    received: Opt[Timestamp] = Field(
        None, description="When it arrives; decides the year of times without one. Default: 2026-01-01T00:00:00Z."
    )
    expect: EventMap = Field(
        default_factory=dict, description="Fields of the event and their values; others may be there too."
    )
    absent: Annotated[list[FieldName], Field(max_length=100)] = Field(
        default_factory=list, description="Fields that the event must not have."
    )


Format = Literal["json", "mozdef", "syslog", "cef", "leef", "text", "kubernetesAudit", "otlp", "windowsEvent"]


class LogSourceSpec(Checked):
    """What the user asks for."""

    description: Opt[Text] = Field(None, description="What this source is, for people.")
    input: Input = Field(description="How events come in.")
    format: Format = Field("json", description="How an event is written.")
    parser: Opt[Word] = Field(
        None, description="A parser that ships, for what stands inside: `linux.auth`, `aws.cloudtrail`."
    )
    timezone: Zone = Field("UTC", description="Zone of times that name none.")
    mapping: Annotated[list[MappingStep], Field(max_length=200)] = Field(
        default_factory=list, description="Steps after the parser, in order."
    )
    dataset: Dataset = Field(description="ECS `event.dataset` of the events.")
    logsource: Opt[Logsource] = Field(None, description="The Sigma logsource that the events satisfy.")
    windows: WindowsOptions = Field(
        default_factory=WindowsOptions, json_schema_extra=EMPTY_OBJECT, description="Choices for Windows events."
    )
    workers: Workers = Field(
        default_factory=Workers, json_schema_extra=EMPTY_OBJECT, description="Who processes the events."
    )
    limits: Limits = Field(
        default_factory=Limits, json_schema_extra=EMPTY_OBJECT, description="What the gateway accepts."
    )
    retention: Retention = Field(
        default_factory=Retention, json_schema_extra=EMPTY_OBJECT, description="How long events stay."
    )
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What happens to queues, dead letters and stored events when the source is deleted from a cluster; "
        "`vedette up` keeps them.",
    )
    silence: Opt[Silence] = Field(None, description="When a quiet source is a finding.")
    tests: Annotated[list[SourceTest], Field(max_length=100)] = Field(
        default_factory=list,
        description="Raw events and what must come of them.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Tests have names of their own."""
        yield from unique(data, "tests", "name")


class LogSourceStats(Model):
    """Figures, rounded, every few minutes."""

    events_per_second: Opt[Word] = Field(None, description="Rate of the last minutes.")
    lag_seconds: Opt[Word] = Field(None, description="How long the oldest event has waited.")
    rejected_24h: Opt[Count] = Field(None, alias="rejected24h", description="Refused in 24 hours.")
    dead_letters: Opt[Count] = Field(None, description="Dead letters that wait for somebody.")
    last_event_time: Opt[Timestamp] = Field(None, description="When the last event came.")


class LogSourceStatus(ResourceStatus):
    """What the operator observed."""

    stats: Opt[LogSourceStats] = Field(None, description="Figures, rounded.")


class LogSource(Resource):
    """One way in for events: where they come from, how they are written, and which Sigma logsource they satisfy."""

    KIND = "LogSource"
    PLURAL = "logsources"
    SINGULAR = "logsource"
    SHORT_NAMES = ("ls", "src")
    PRINTER_COLUMNS = (
        READY,
        REASON,
        Column("Dataset", "string", ".spec.dataset", "ECS event.dataset of the events."),
        Column("Format", "string", ".spec.format", "How an event is written.", 1),
        Column("Events/s", "string", ".status.stats.eventsPerSecond", "Rate of the last minutes."),
        Column("Lag", "string", ".status.stats.lagSeconds", "Seconds that the oldest event has waited."),
        Column("Dead", "integer", ".status.stats.deadLetters", "Dead letters that wait for somebody."),
        Column("Last event", "date", ".status.stats.lastEventTime", "When the last event came.", 1),
        AGE,
    )

    kind: Literal["LogSource"] = Field(description="Always `LogSource`.")
    spec: LogSourceSpec = Field(description="What the user asks for.")
    status: Opt[LogSourceStatus] = Field(None, description="What the operator observed; users do not write it.")


__all__ = ["ConfigMapKeyRef", "Format", "LogSource", "LogSourceSpec", "MappingStep", "SourceTest"]
