"""Incident: the skeleton of the work on an incident; notes, evidence and alerts live in the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds.common import Count, Duration, FieldName, Label, Line, Severity, Text, Timestamp, Url
from vedette_crds.model import Checked, Fault, Model, Opt
from vedette_crds.resource import AGE, Column, Resource, ResourceStatus

Phase = Literal["Identification", "Containment", "Eradication", "Recovery", "Lessons Learned", "Closed"]
Disposition = Literal["undetermined", "true-positive", "benign", "false-positive", "duplicate"]
Veris = Annotated[
    str, StringConstraints(min_length=3, max_length=256, pattern=r"^[a-z_]+(\.[A-Za-z0-9_][^\x00-\x1f\x7f.]*)+$")
]


class IncidentSpec(Checked):
    """What people say of the incident."""

    CEL = (
        {
            "rule": "self.phase != 'Closed' || self.disposition != 'undetermined'",
            "message": "a closed incident needs a disposition",
            "fieldPath": ".disposition",
        },
        {
            "rule": "!has(self.duplicateOf) || self.disposition == 'duplicate'",
            "message": "duplicateOf belongs to the disposition duplicate",
            "fieldPath": ".duplicateOf",
        },
        {
            "rule": "!has(oldSelf.opened) || (has(self.opened) && self.opened == oldSelf.opened)",
            "message": "opened is fixed once it is set",
            "fieldPath": ".opened",
        },
    )

    title: Line = Field(description="The incident in a few words.")
    description: Opt[Text] = Field(None, description="What is known, in a few sentences; notes live in the store.")
    severity: Severity = Field("medium", description="How bad it is.")
    phase: Phase = Field("Identification", description="How far the work is.")
    assignee: Opt[Line] = Field(None, description="Who leads the work.")
    occurred: Opt[Timestamp] = Field(None, description="When it began to happen.")
    opened: Opt[Timestamp] = Field(None, description="When the incident was opened; fixed once it is set.")
    reported: Opt[Timestamp] = Field(None, description="When somebody reported it.")
    acknowledged: Opt[Timestamp] = Field(None, description="When somebody took it on.")
    contained: Opt[Timestamp] = Field(None, description="When it could no longer spread.")
    resolved: Opt[Timestamp] = Field(None, description="When everything worked again.")
    closed: Opt[Timestamp] = Field(None, description="When the work ended.")
    veris: Annotated[list[Veris], Field(max_length=64)] = Field(
        default_factory=list, description="VERIS tags, `action.hacking.variety.Brute force`."
    )
    tags: Annotated[list[Line], Field(max_length=64)] = Field(default_factory=list, description="Tags of your own.")
    references: Annotated[list[Url], Field(max_length=64)] = Field(
        default_factory=list, description="Tickets and reading."
    )
    disposition: Disposition = Field("undetermined", description="What it was; needed for closing.")
    duplicate_of: Opt[Label] = Field(None, description="The other incident, for the disposition `duplicate`.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """A closed incident says what it was."""
        disposition = data.get("disposition", "undetermined")
        if data.get("phase") == "Closed" and disposition == "undetermined":
            choice = "true-positive, benign, false-positive or duplicate"
            yield Fault("a closed incident needs a disposition", hint=choice, at=("disposition",))
        if "duplicateOf" in data and disposition != "duplicate":
            yield Fault("duplicateOf belongs to the disposition duplicate", at=("duplicateOf",))


class Timers(Model):
    """How long the steps took, from opening; missing while they wait."""

    acknowledge: Opt[Duration] = Field(None, description="Until somebody took it on.")
    contain: Opt[Duration] = Field(None, description="Until it could no longer spread.")
    resolve: Opt[Duration] = Field(None, description="Until everything worked again.")


class IncidentStatus(ResourceStatus):
    """What the operator observed."""

    alerts: Opt[Count] = Field(None, description="How many alerts belong to it.")
    entities: Annotated[
        dict[FieldName, Annotated[list[Annotated[str, StringConstraints(max_length=256)]], Field(max_length=20)]],
        Field(max_length=20),
    ] = Field(default_factory=dict, description="Hosts, users and addresses in its alerts: field to values.")
    timers: Opt[Timers] = Field(None, description="How long the steps took.")


class Incident(Resource):
    """The skeleton of the work on an incident: title, phase, severity, who leads it, what it was."""

    KIND = "Incident"
    PLURAL = "incidents"
    SINGULAR = "incident"
    SHORT_NAMES = ("inc",)
    PRINTER_COLUMNS = (
        Column("Severity", "string", ".spec.severity", "How bad it is."),
        Column("Phase", "string", ".spec.phase", "How far the work is."),
        Column("Assignee", "string", ".spec.assignee", "Who leads the work."),
        Column("Alerts", "integer", ".status.alerts", "How many alerts belong to it."),
        Column("Title", "string", ".spec.title", "The incident in a few words."),
        AGE,
    )

    kind: Literal["Incident"] = Field(description="Always `Incident`.")
    spec: IncidentSpec = Field(description="What people say of the incident.")
    status: Opt[IncidentStatus] = Field(None, description="What the operator observed; users do not write it.")
