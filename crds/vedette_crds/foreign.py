"""Kubernetes' own objects that may stand beside ours: Secret and ConfigMap are used, Namespace is accepted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from vedette_crds.common import FileKey, ObjectName
from vedette_crds.model import Checked, Fault, Model, Opt
from vedette_crds.resource import ObjectMeta

MAX_BYTES = 1_048_576

DataText = Annotated[str, StringConstraints(max_length=2 * MAX_BYTES)]
Data = Annotated[dict[FileKey, DataText], Field(max_length=1000)]


class ForeignMeta(ObjectMeta):
    """Metadata of Kubernetes' own objects, whose names may be longer than ours."""

    name: ObjectName = Field(description="Name of the object.")


class _Foreign(Checked):
    api_version: Literal["v1"] = Field(description="Always `v1`.")
    metadata: ForeignMeta = Field(description="Name, namespace, labels and annotations.")


class Secret(_Foreign):
    """Values that are nobody's business; `data` is base64, `stringData` is as it stands and wins."""

    kind: Literal["Secret"] = Field(description="Always `Secret`.")
    type: Opt[Annotated[str, StringConstraints(max_length=253)]] = Field(
        None, description="Kubernetes' type of secret."
    )
    immutable: Opt[bool] = Field(None, description="Kubernetes: refuse changes.")
    data: Data = Field(default_factory=dict, description="Values in base64.")
    string_data: Data = Field(default_factory=dict, description="Values as they stand.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Values that are base64, and a bounded sum."""
        yield from _base64(data, "data")
        yield from _bounded(data, "data", "stringData")


class ConfigMap(_Foreign):
    """Tables and settings; `binaryData` is base64."""

    kind: Literal["ConfigMap"] = Field(description="Always `ConfigMap`.")
    immutable: Opt[bool] = Field(None, description="Kubernetes: refuse changes.")
    data: Data = Field(default_factory=dict, description="Values as they stand.")
    binary_data: Data = Field(default_factory=dict, description="Values in base64.")

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """Values that are base64, keys that are there once, and a bounded sum."""
        yield from _base64(data, "binaryData")
        yield from _bounded(data, "data", "binaryData")
        both = _mapping(data, "data").keys() & _mapping(data, "binaryData").keys()
        for key in sorted(both, key=str):
            yield Fault(f"the key {key!r} is in data too", at=("binaryData", key))


class Namespace(_Foreign):
    """A tenant; accepted so that a folder can be given to kubectl as it is."""

    kind: Literal["Namespace"] = Field(description="Always `Namespace`.")
    spec: Opt[dict[str, Any]] = Field(None, description="Kubernetes' own.")
    status: Opt[dict[str, Any]] = Field(None, description="Kubernetes' own.")


FOREIGN: dict[str, type[Model]] = {"Secret": Secret, "ConfigMap": ConfigMap, "Namespace": Namespace}


def _mapping(data: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = data.get(field)
    return value if isinstance(value, dict) else {}


def _base64(data: Mapping[str, Any], field: str) -> Iterator[Fault]:
    for key, value in _mapping(data, field).items():
        if not isinstance(value, str):
            continue
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            hint = "use stringData for text" if field == "data" else "use data for text"
            yield Fault("the value is not base64", hint=hint, at=(field, key))


def _bounded(data: Mapping[str, Any], *fields: str) -> Iterator[Fault]:
    size = sum(len(value) for field in fields for value in _mapping(data, field).values() if isinstance(value, str))
    if size > MAX_BYTES:
        yield Fault(f"the values take {size:,} characters", hint=f"at most {MAX_BYTES:,}")
