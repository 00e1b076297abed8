"""The shape that all kinds share: apiVersion, kind, metadata, spec, status."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, StringConstraints

from vedette_crds.common import Count, Label, Namespace, ObjectName, Timestamp
from vedette_crds.conditions import Condition
from vedette_crds.model import Checked, Model, Opt

GROUP = "vedette.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
DEFAULT_NAMESPACE = "default"

LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317)]
LabelValue = Annotated[str, StringConstraints(max_length=63)]
AnnotationValue = Annotated[str, StringConstraints(max_length=262_144)]
ServerText = Annotated[str, StringConstraints(max_length=253)]

ServerObject = Annotated[dict[ServerText, Any], Field(max_length=64)]


class Column(NamedTuple):
    """A column that `kubectl get` prints; priority 0 always, 1 with `-o wide` only."""

    name: str
    type: Literal["string", "integer", "number", "boolean", "date"]
    path: str
    description: str
    priority: int = 0


READY = Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether the object does its work.")
REASON = Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not.")
AGE = Column("Age", "date", ".metadata.creationTimestamp", "How long the object has existed.")


class ObjectMeta(Model):
    """Metadata: what users write, and what a Kubernetes API server fills in."""

    name: Label = Field(
        description="Name of the object: a DNS label of at most 40 characters, since it becomes a label."
    )
    namespace: Namespace = Field(
        DEFAULT_NAMESPACE, description="The tenant. Rules see the events of their own namespace only."
    )
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(
        default_factory=dict, description="Labels, for selecting."
    )
    annotations: Annotated[dict[LabelKey, AnnotationValue], Field(max_length=64)] = Field(
        default_factory=dict, description="Annotations, for tools and notes."
    )
    generate_name: Opt[ServerText] = Field(None, description="Kubernetes: prefix of a name that the server chooses.")
    generation: Opt[Count] = Field(None, description="Kubernetes: counts the changes of the spec.")
    resource_version: Opt[ServerText] = Field(None, description="Kubernetes: changes with every write.")
    uid: Opt[ServerText] = Field(None, description="Kubernetes: tells objects of one name apart over time.")
    self_link: Opt[Annotated[str, StringConstraints(max_length=1024)]] = Field(
        None, description="Kubernetes: no longer used."
    )
    creation_timestamp: Opt[Timestamp] = Field(None, description="Kubernetes: when the object was made.")
    deletion_timestamp: Opt[Timestamp] = Field(None, description="Kubernetes: when deleting began.")
    deletion_grace_period_seconds: Opt[Count] = Field(None, description="Kubernetes: seconds left for deleting.")
    finalizers: Annotated[list[ServerText], Field(max_length=32)] = Field(
        default_factory=list, description="Kubernetes: who has to clean up before the object goes."
    )
    owner_references: Annotated[list[ServerObject], Field(max_length=32)] = Field(
        default_factory=list, description="Kubernetes: objects that this one goes with."
    )
    managed_fields: Annotated[list[ServerObject], Field(max_length=256)] = Field(
        default_factory=list, description="Kubernetes: which program wrote which field."
    )


class Tally(Model):
    """How the object's own tests went."""

    passed: Count = Field(0, description="Tests that pass.")
    failed: Count = Field(0, description="Tests that fail.")
    not_run: Count = Field(0, description="Tests that wait for what this version or this place cannot do.")


class StatusProblem(Model):
    """One mistake in the object."""

    path: Annotated[str, StringConstraints(max_length=1024)] = Field("", description="Where in the object.")
    line: Opt[Count] = Field(None, description="Line of the file that it was read from, where there is one.")
    message: Annotated[str, StringConstraints(max_length=2048)] = Field(description="What is wrong.")
    hint: Annotated[str, StringConstraints(max_length=2048)] = Field("", description="What to do about it.")


class ResourceStatus(Model):
    """What the operator observed; users do not write it."""

    observed_generation: Opt[Count] = Field(None, description="The generation of the spec that this status speaks of.")
    conditions: Annotated[list[Condition], Field(max_length=20)] = Field(
        default_factory=list,
        description="What holds for the object and why.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    problems: Annotated[list[StatusProblem], Field(max_length=200)] = Field(
        default_factory=list, description="What is wrong with the newest version."
    )
    tests: Opt[Tally] = Field(None, description="How the object's own tests went.")


class Resource(Checked):
    """One manifest of a kind of ours.

    Attributes:
        KIND: the name in `kind:`.
        PLURAL, SINGULAR, SHORT_NAMES: names for `kubectl get`.
        CATEGORIES: `kubectl get siem` lists all kinds.
        PRINTER_COLUMNS: what `kubectl get` prints.
    """

    GROUP: ClassVar[str] = GROUP
    VERSION: ClassVar[str] = VERSION
    CATEGORIES: ClassVar[tuple[str, ...]] = ("siem",)
    KIND: ClassVar[str]
    PLURAL: ClassVar[str]
    SINGULAR: ClassVar[str]
    SHORT_NAMES: ClassVar[tuple[str, ...]]
    PRINTER_COLUMNS: ClassVar[tuple[Column, ...]]

    api_version: Literal["vedette.dev/v1alpha1"] = Field(description="Always `vedette.dev/v1alpha1`.")
    kind: str = Field(description="Which kind of object this is.")
    metadata: ObjectMeta = Field(description="Name, namespace, labels and annotations.")

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the object."""
        return self.metadata.namespace

    def manifest(self) -> dict[str, Any]:
        """The object as a manifest: defaults filled in, fields without a value left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


__all__ = [
    "AGE",
    "API_VERSION",
    "DEFAULT_NAMESPACE",
    "READY",
    "REASON",
    "Column",
    "ObjectMeta",
    "ObjectName",
    "Resource",
]
