"""Conditions of an object's status: their types and their reasons.

A condition says one thing that users wait for (`kubectl wait --for=condition=Ready`), with a reason for machines and a
message for people. Every reason that Vedette writes is a constant here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from vedette_crds.common import Count, Timestamp
from vedette_crds.model import Model, Opt

ACCEPTED = "Accepted"
TESTED = "Tested"
LOADED = "Loaded"
READY = "Ready"
TOPOLOGY_READY = "TopologyReady"
TEMPLATE_READY = "TemplateReady"
AVAILABLE = "Available"
RECEIVING = "Receiving"
DATA_AVAILABLE = "DataAvailable"
BACKTESTED = "Backtested"
PROVEN = "Proven"
PAUSED = "Paused"
SLA = "SLA"

TYPES: dict[str, str] = {
    ACCEPTED: "the object is valid and compiled",
    TESTED: "the object's own tests pass",
    LOADED: "all live workers run this version",
    READY: "the object does its work; never depends on traffic",
    TOPOLOGY_READY: "the source's queues exist",
    TEMPLATE_READY: "the store is prepared for the source's events",
    AVAILABLE: "workers consume the source",
    RECEIVING: "events arrive; informs only",
    DATA_AVAILABLE: "a source gives the rule events to look at; informs only",
    BACKTESTED: "the rule was tried on stored events; informs only",
    PROVEN: "a probe went the rule's whole way; informs only",
    PAUSED: "the operator leaves the object alone; there only while it does",
    SLA: "the incident is acknowledged and contained in time: 15m and 4h after opening when it is critical, 30m and 8h "
    "when high, 4h and 2d when medium, 1d and 7d when low; informs only",
}
"""Every type with its meaning."""

REASONS: dict[str, str] = {
    # Accepted
    "Valid": "everything in the object is understood",
    "Invalid": "the object has mistakes; the message lists them",
    "NotYetSupported": "the object is valid and asks for what this version cannot do yet",
    "ReferenceNotFound": "a Secret, ConfigMap, file or rule that the object names is not there",
    "TokenShared": "another source uses the same token",
    "Ambiguous": "a reference fits several objects",
    "InternalError": "the program failed while it judged the object; please report this",
    # Tested
    "TestsPassed": "all tests pass",
    "TestsFailed": "at least one test fails; the last good version stays loaded",
    "NoTests": "the object brings no tests",
    "NotRun": "tests wait for what this version cannot do yet, or for a table that only a worker has",
    # Loaded
    "Live": "all live workers report this version",
    "Waiting": "some worker has not reported this version yet",
    "WorkerFailed": "a worker could not load this version; the message says which and why",
    "NotAccepted": "an object that is not accepted is not loaded",
    # Ready
    "AllGood": "every condition that counts is true",
    "LastGoodVersion": "the newest version is refused and an earlier one does the work",
    "Paused": "the object carries the pause annotation",
    # TopologyReady, TemplateReady, Available
    "Declared": "what the object needs outside was made",
    "BackendUnavailable": "broker or store cannot be reached; this is tried again",
    "BackendRefused": "broker or store refuses what the operator asks for; the message says why",
    "Forbidden": "the operator lacks a right in the namespace",
    "NotATenant": "the release does not serve the namespace",
    "Consuming": "workers consume",
    "ScaledToZero": "nothing comes, so no worker runs until events wait",
    "Starting": "workers are starting",
    "NoWorkers": "no worker is alive",
    # Receiving, DataAvailable
    "Events": "events came lately",
    "Silent": "no event came for the time in `silence.after`",
    "NeverReceived": "no event came yet",
    "SourceFound": "a source satisfies the rule's logsource",
    "NoSource": "no source satisfies the rule's logsource",
    "Query": "the rule asks by a query; which sources bring what it asks for is not known",
    "FieldMissing": "the rule asks for a field that its sources have not sent yet",
    # Incident
    "Open": "the incident is worked on",
    "Closed": "the incident is closed",
    "InTime": "acknowledged and contained in time",
    "Late": "a time limit has passed",
}
"""Every reason with its meaning."""

Status = Literal["True", "False", "Unknown"]
MAX_MESSAGE = 4096
"""Characters."""


class Condition(Model):
    """One condition, as in Kubernetes' own objects."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z]+$")] = Field(
        description="What the condition is about, in CamelCase."
    )
    status: Status = Field(description="Whether it holds.")
    reason: Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z][A-Za-z0-9]*$")] = Field(
        description="Why, as one CamelCase word for machines."
    )
    message: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)] = Field(
        "", description="Why, as a sentence for people."
    )
    observed_generation: Opt[Count] = Field(
        None, description="The generation of the object that the condition speaks of."
    )
    last_transition_time: Timestamp = Field(description="When the status last changed.")
