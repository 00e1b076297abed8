"""What all models of manifests have in common: strict types, camelCase names, and every mistake reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
)
from pydantic import model_validator as _model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, PydanticCustomError, core_schema

T = TypeVar("T")

#: The error type of what a model's own `across` finds; its context holds `message` and `hint`.
FAULT = "fault"
#: The error type of an explicit `null` where a field may be left out.
NULL = "null"


class _NotNull:
    """An optional field is left out or has a value; `null` is neither, as in a Kubernetes schema without `nullable`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_refuse_null, handler(source))


def _refuse_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError(NULL, "must not be null")
    return value


#: Words of CEL that are names of fields here, as Kubernetes escapes them.
_CEL_WORDS = {"for": "__for__", "namespace": "__namespace__", "if": "__if__", "in": "__in__"}

#: Any JSON but `null`.
Value = Annotated[Any, _NotNull()]

#: A field that may be left out: None in Python, absent in a manifest.
Opt = Annotated[T | None, _NotNull()]


class Model(BaseModel):
    """One object inside a manifest: attributes are snake_case, the manifest's fields camelCase."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        defer_build=True,
        extra="forbid",
        frozen=True,
        serialize_by_alias=True,
        strict=True,
        validate_by_alias=True,
        validate_by_name=False,
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake that only several fields together show, or only a look into a text.

    Attributes:
        at: leads from the object to the place.
        line: 1-based line inside the text that stands there.
    """

    message: str
    hint: str = ""
    at: tuple[str | int, ...] = ()
    line: int | None = None


class Checked(Model):
    """A model with rules across its fields.

    The rules read the raw mapping and run even where fields are wrong, so that a user sees all mistakes of a file at
    once; they must expect any JSON.

    Attributes:
        ONE_OF: fields (as the manifest names them) of which exactly one must be given.
        CEL: what the API server can check too, as `x-kubernetes-validations` entries; `ONE_OF` needs none.
    """

    ONE_OF: ClassVar[tuple[str, ...]] = ()
    CEL: ClassVar[tuple[Mapping[str, str], ...]] = ()

    @classmethod
    def across(cls, data: Mapping[str, Any]) -> Iterator[Fault]:
        """The faults between fields; subclasses extend it."""
        if cls.ONE_OF:
            yield from exactly_one(data, cls.ONE_OF)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON schema with the rules that the API server can check."""
        described = handler.resolve_ref_schema(handler(schema))
        rules = [*cls.CEL, *([one_of_rule(cls.ONE_OF)] if cls.ONE_OF else [])]
        if rules:
            described["x-kubernetes-validations"] = [dict(rule) for rule in rules]
        return described

    @_model_validator(mode="wrap")
    @classmethod
    def _everything_at_once(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        faults = [_details(fault) for fault in cls.across(data)] if isinstance(data, dict) else []
        if not faults:
            return handler(data)
        try:
            handler(data)
        except ValidationError as error:
            faults[:0] = [_again(detail) for detail in error.errors(include_url=False)]
        raise ValidationError.from_exception_data(cls.__name__, faults)


def _details(fault: Fault) -> InitErrorDetails:
    context = {"message": fault.message, "hint": fault.hint, "line": fault.line}
    error = PydanticCustomError(FAULT, "{message}", context)
    return InitErrorDetails(type=error, loc=fault.at, input=None)


def _again(detail: ErrorDetails) -> InitErrorDetails:
    """An error of an inner object in the form in which it can be raised once more."""
    context = detail.get("ctx", {})
    kind: str | PydanticCustomError = detail["type"]
    if kind == FAULT:
        kind = PydanticCustomError(FAULT, "{message}", context)
    elif kind == NULL:
        kind = PydanticCustomError(NULL, "must not be null")
    return InitErrorDetails(type=kind, loc=detail["loc"], input=detail["input"], ctx=context)


def exactly_one(data: Mapping[str, Any], names: Sequence[str]) -> Iterator[Fault]:
    """A fault unless exactly one of the fields is there."""
    given = [name for name in names if name in data]
    if len(given) == 1:
        return
    choice = f"exactly one of {', '.join(names)} is needed"
    if given:
        yield Fault(f"{choice}, not {' and '.join(given)}", hint=f"keep {given[0]}, or make an object of each")
    else:
        yield Fault(choice)


def one_of_rule(names: Sequence[str]) -> dict[str, str]:
    """The same as `exactly_one` for the API server, in CEL; names that are words of CEL are escaped as it asks."""
    given = " + ".join(f"(has(self.{_CEL_WORDS.get(name, name)}) ? 1 : 0)" for name in names)
    return {"rule": f"{given} == 1", "message": f"exactly one of {', '.join(names)} is needed"}


def unique(data: Mapping[str, Any], items: str, key: str) -> Iterator[Fault]:
    """A fault for each entry of the list `items` whose `key` an earlier one has too."""
    first: dict[str, int] = {}
    for index, name in texts(data, items, key):
        if name in first:
            yield Fault(
                f"{name!r} is taken by {items}[{first[name]}]",
                hint=f"give each entry its own {key}",
                at=(items, index, key),
            )
        first.setdefault(name, index)


def texts(data: Mapping[str, Any], items: str, key: str) -> Iterator[tuple[int, str]]:
    """Index and text at `key` of those entries of the list `items` that have one."""
    entries = data.get(items)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        name = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(name, str):
            yield index, name
