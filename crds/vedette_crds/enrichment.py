"""Enrichment: one thing that is added to events on their way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds.common import (
    ConfigMapKeyRef,
    Count,
    Duration,
    EventMap,
    FieldName,
    FileSource,
    Label,
    Line,
    RelativePath,
    SecretKeyRef,
    Text,
    Url,
    VolumeFile,
)
from vedette_crds.model import Checked, Fault, Model, Opt, unique
from vedette_crds.resource import AGE, READY, REASON, Column, Resource, ResourceStatus

Cell = Annotated[str, StringConstraints(max_length=1024)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Row = Annotated[dict[ColumnName, Cell], Field(max_length=64)]
Wanted = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^(\*|[A-Za-z0-9_][-._A-Za-z0-9]*)$")]


class AppliesTo(Model):
    """Which events: decided by where they come from and which fields they have, never by what a value says."""

    datasets: Annotated[list[Wanted], Field(min_length=1, max_length=100)] = Field(
        default_factory=lambda: ["*"],
        json_schema_extra={"default": ["*"]},
        description='Datasets of the events; `"*"` stands for all.',
    )
    sources: Annotated[list[Label], Field(max_length=100)] = Field(
        default_factory=list, description="Names of LogSources; empty stands for all."
    )
    fields: Annotated[list[FieldName], Field(max_length=32)] = Field(
        default_factory=list, description="Fields that the event must all have."
    )


class GeoIp(Model):
    """Where an address is, and whose network it belongs to, from a MaxMind database."""

    source_field: FieldName = Field(description="The field with the address.")
    target_field: FieldName = Field(
        description="What the results begin with: `source.geo`, or `source.as` for an ASN database."
    )
    database: FileSource = Field(description="The `.mmdb` file.")


class Table(Checked):
    """Where the rows come from: exactly one of the places. CSV with a header line, or JSON: a list of flat objects."""

    ONE_OF = ("configMap", "pvc", "file", "rows")

    config_map: Opt[ConfigMapKeyRef] = Field(
        None, description="A value of a ConfigMap; for what is smaller than 1 MiB."
    )
    pvc: Opt[VolumeFile] = Field(None, description="A file on a persistent volume that the workers mount.")
    file: Opt[RelativePath] = Field(
        None, description="A file in the folder that `vedette up` watches, relative to it. Not for clusters."
    )
    rows: Opt[Annotated[list[Row], Field(min_length=1, max_length=1000)]] = Field(
        None, description="The rows themselves, column to text; needs `keyColumn`."
    )


class Lookup(Checked):
    """Columns of a table, added where a field's value is found in it."""

    CEL = (
        {
            "rule": "!has(self.table.rows) || has(self.keyColumn)",
            "message": "a table of rows needs keyColumn",
        },
    )

    key_field: FieldName = Field(description="The field whose value is looked up.")
    table: Table = Field(description="Where the rows come from.")
    format: Literal["auto", "csv", "json"] = Field(
        "auto", description="How the table is written; `auto` looks at its name."
    )
    key_column: Opt[ColumnName] = Field(
        None, description="The column to find the value in. Default: the column named like `keyField`, else the first."
    )
    match: Literal["exact", "ignoreCase"] = Field("exact", description="Whether upper and lower case differ.")
    set: Annotated[dict[FieldName, ColumnName], Field(min_length=1, max_length=64)] = Field(
        description="Field of the event to column of the table."
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Maps have no first column, so rows need the key's name."""
        table = data.get("table")
        if isinstance(table, dict) and "rows" in table and "keyColumn" not in data:
            yield Fault("a table of rows needs keyColumn", hint="name the column to look the value up in")


class Cidr(Model):
    """Columns of a table of networks, added where an address is inside one; the smallest network wins."""

    source_field: FieldName = Field(description="The field with the address.")
    table: Table = Field(description="Where the rows come from.")
    network_column: ColumnName = Field("network", description="The column with the networks, `192.0.2.0/24`.")
    set: Annotated[dict[FieldName, ColumnName], Field(min_length=1, max_length=64)] = Field(
        description="Field of the event to column of the table."
    )


class IndicatorFeed(Checked):
    """Where indicators of compromise come from: exactly one of the places."""

    ONE_OF = ("url", "urlSecretRef", "configMap", "pvc", "file")

    url: Opt[Url] = Field(None, description="A feed to fetch.")
    url_secret_ref: Opt[SecretKeyRef] = Field(None, description="A feed whose address is secret.")
    config_map: Opt[ConfigMapKeyRef] = Field(None, description="A value of a ConfigMap.")
    pvc: Opt[VolumeFile] = Field(None, description="A file on a persistent volume.")
    file: Opt[RelativePath] = Field(None, description="A file in the folder that `vedette up` watches.")
    format: Literal["stix", "misp", "csv", "text"] = Field("csv", description="How the feed is written.")
    every: Duration = Field("1h", description="How often to fetch it.")


class Indicators(Model):
    """Marks events in which an indicator of compromise occurs."""

    fields: Annotated[list[FieldName], Field(min_length=1, max_length=32)] = Field(description="The fields to look in.")
    feed: IndicatorFeed = Field(description="Where the indicators come from.")
    expire_after: Opt[Duration] = Field(
        None, description="Forget an indicator that the feed has not named for so long."
    )


class Python(Model):
    """A function of your own, in a process without credentials; off unless the installation allows it."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=65_536)] = Field(
        description="Source that defines `enrich(event)`, which gets the event and returns the fields to set."
    )
    timeout: Duration = Field("100ms", description="How long one call may take.")


class EnrichmentTest(Model):
    """One event and what must come of it."""

    name: Opt[Line] = Field(None, description="What the test shows.")
    input: EventMap = Field(description="The event before.")
    expect: EventMap = Field(default_factory=dict, description="Fields of the event after; others may be there too.")
    absent: Annotated[list[FieldName], Field(max_length=100)] = Field(
        default_factory=list, description="Fields that the event must not have after."
    )


class EnrichmentSpec(Checked):
    """What the user asks for: exactly one operation."""

    ONE_OF = ("geoip", "lookup", "cidr", "indicators", "set", "rename", "drop", "python")

    description: Opt[Text] = Field(None, description="What this enrichment is for.")
    order: Annotated[int, Field(ge=0, le=10_000)] = Field(
        1000, description="Lower numbers run first; equal ones by name."
    )
    applies_to: AppliesTo = Field(
        default_factory=AppliesTo, json_schema_extra={"default": {}}, description="Which events are enriched."
    )
    geoip: Opt[GeoIp] = Field(None, description="Where an address is.")
    lookup: Opt[Lookup] = Field(None, description="Columns of a table.")
    cidr: Opt[Cidr] = Field(None, description="Columns of a table of networks.")
    indicators: Opt[Indicators] = Field(None, description="Marks indicators of compromise.")
    set: Opt[Annotated[dict[FieldName, Any], Field(min_length=1, max_length=64)]] = Field(
        None, description="Fields and the values that they get."
    )
    rename: Opt[Annotated[dict[FieldName, FieldName], Field(min_length=1, max_length=64)]] = Field(
        None, description="Fields and their new names."
    )
    drop: Opt[Annotated[list[FieldName], Field(min_length=1, max_length=64)]] = Field(
        None, description="Fields to remove."
    )
    python: Opt[Python] = Field(None, description="A function of your own.")
    on_failure: Literal["tag", "drop-field"] = Field(
        "tag",
        description="What happens when the operation fails: `tag` names it in `vedette.enrichment_failed`; "
        "`drop-field` removes the field that it could not read, too. The event always goes on.",
    )
    tests: Annotated[list[EnrichmentTest], Field(max_length=100)] = Field(
        default_factory=list, description="Events and what must come of them."
    )

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """One operation; tests with names of their own."""
        yield from super().across(data)
        yield from unique(data, "tests", "name")


class EnrichmentStats(Model):
    """Figures, rounded, every few minutes."""

    applied: Opt[Count] = Field(None, description="Events enriched in 24 hours.")
    misses: Opt[Count] = Field(None, description="Events for which nothing was found in 24 hours.")
    failed: Opt[Count] = Field(None, description="Events that it failed on in 24 hours.")


class EnrichmentStatus(ResourceStatus):
    """What the operator observed."""

    stats: Opt[EnrichmentStats] = Field(None, description="Figures, rounded.")


class Enrichment(Resource):
    """One thing that is added to events on their way: a place, an owner, a mark."""

    KIND = "Enrichment"
    PLURAL = "enrichments"
    SINGULAR = "enrichment"
    SHORT_NAMES = ("enr",)
    PRINTER_COLUMNS = (
        READY,
        REASON,
        Column("Order", "integer", ".spec.order", "Lower numbers run first."),
        Column("Applied", "integer", ".status.stats.applied", "Events enriched in 24 hours."),
        Column("Failed", "integer", ".status.stats.failed", "Events that it failed on in 24 hours."),
        AGE,
    )

    kind: Literal["Enrichment"] = Field(description="Always `Enrichment`.")
    spec: EnrichmentSpec = Field(description="What the user asks for.")
    status: Opt[EnrichmentStatus] = Field(None, description="What the operator observed; users do not write it.")
