"""The types of single fields that several kinds share, each with its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from vedette_crds import duration
from vedette_crds.model import Checked, Fault, Model, Opt

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"
FIELD = r"^[^\x00-\x20\x7f]+$"
FILE_KEY = r"^[-._a-zA-Z0-9]+$"
_SEGMENT = r"(\.{0,2}[^/.\x00-\x1f\x7f]|\.{3})[^/\x00-\x1f\x7f]*"
RELATIVE_PATH = rf"^{_SEGMENT}(/{_SEGMENT})*$"
DATASET = r"^[a-z0-9_]+([.-][a-z0-9_]+)*$"
WORD = r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$"
ZONE = r"^(Z|UTC|[+-][0-9]{2}:[0-9]{2}|[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2})$"
URL = r"^https?://[^\x00-\x20\x7f]+$"
TIMESTAMP = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)

#: What a pattern means in words, and an example: error messages say this instead of the expression.
MEANING = {
    DNS_LABEL: ("lower-case letters, digits and dashes, with a letter or digit at both ends", "web-auth"),
    DNS_NAME: ("lower-case letters, digits, dashes and dots, with a letter or digit at both ends", "web-auth.v1"),
    FIELD: ("a field name without blanks", "source.ip"),
    FILE_KEY: ("letters, digits, dots, dashes and underscores", "owners.csv"),
    RELATIVE_PATH: ("a path below, without . and ..", "geo/city.mmdb"),
    DATASET: ("lower-case words with dots between them", "system.auth"),
    WORD: ("letters, digits, dots, dashes and underscores, with a letter or digit at both ends", "linux.auth"),
    ZONE: ("a time zone", "Europe/Berlin, UTC or +02:00"),
    URL: ("a web address", "https://runbooks.example.org/ssh"),
    TIMESTAMP: ("a date and time with its zone", "2026-11-22T10:01:10Z"),
    duration.PATTERN: ("a duration", "30s, 5m, 1h30m or 7d"),
}

Label = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=DNS_LABEL)]
Namespace = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_NAME)]
FileKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=FILE_KEY)]
RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=RELATIVE_PATH)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=FIELD)]
Dataset = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=DATASET)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=WORD)]
Zone = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=ZONE)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=URL)]
Timestamp = Annotated[
    str,
    StringConstraints(max_length=35, pattern=TIMESTAMP),
    Field(json_schema_extra={"format": "date-time"}),
]
Line = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Text = Annotated[str, StringConstraints(max_length=4096)]
Query = Annotated[str, StringConstraints(min_length=1, max_length=4096)]

#: A length of time; `vedette_crds.duration.parse_duration` gives milliseconds.
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=40, pattern=duration.PATTERN),
    Field(json_schema_extra={"format": "duration"}),
]

#: The largest integer that every reader of JSON keeps exactly.
MAX_COUNT = 2**53
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]

Severity = Literal["informational", "low", "medium", "high", "critical"]

#: Fields of an event and their values, which no schema describes.
EventMap = Annotated[dict[FieldName, Any], Field(max_length=1000)]


class SecretKeyRef(Model):
    """One value of a Secret in the same namespace."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    key: FileKey = Field(description="Which value of the Secret.")


class ConfigMapKeyRef(Model):
    """One value of a ConfigMap in the same namespace."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: ObjectName = Field(description="Name of the ConfigMap, in the same namespace.")
    key: FileKey = Field(description="Which value of the ConfigMap.")


class VolumeFile(Model):
    """A file on a persistent volume."""

    claim_name: ObjectName = Field(
        description="Name of the PersistentVolumeClaim, in the same namespace. "
        "`vedette up` looks in DATA/pvc/<claimName>."
    )
    path: RelativePath = Field(description="The file's path inside the volume.")


class FileSource(Checked):
    """Where a table or a database comes from: exactly one of the places."""

    ONE_OF = ("pvc", "configMap", "file")

    pvc: Opt[VolumeFile] = Field(None, description="A file on a persistent volume that the workers mount.")
    config_map: Opt[ConfigMapKeyRef] = Field(
        None, description="A value of a ConfigMap; for what is smaller than 1 MiB."
    )
    file: Opt[RelativePath] = Field(
        None, description="A file in the folder that `vedette up` watches, relative to it. Not for clusters."
    )


class Logsource(Checked):
    """The Sigma logsource: which kind of log it is. At least one of the three is needed."""

    CEL = (
        {
            "rule": "has(self.product) || has(self.category) || has(self.service)",
            "message": "at least one of product, category, service is needed",
        },
    )

    product: Opt[Word] = Field(None, description="The product, `windows`, `linux`, `aws`.")
    category: Opt[Word] = Field(None, description="The kind of event in any product, `process_creation`, `proxy`.")
    service: Opt[Word] = Field(None, description="The log of the product, `auth`, `sysmon`, `cloudtrail`.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """At least one part."""
        if not data.keys() & {"product", "category", "service"}:
            yield Fault("at least one of product, category, service is needed")
