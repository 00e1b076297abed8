"""What pydantic finds wrong, in the words of somebody who writes manifests."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vedette_crds import paths
from vedette_crds.common import MEANING
from vedette_crds.manifest_yaml import Spot
from vedette_crds.model import FAULT
from vedette_crds.problems import Problem

MAX_PROBLEMS = 200

_JSON_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_LIMITS = {
    "string_too_short": "at least {min_length:,} characters are needed",
    "string_too_long": "at most {max_length:,} characters are allowed",
    "too_short": "at least {min_length:,} entries are needed",
    "too_long": "at most {max_length:,} entries are allowed",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than_equal": "must be at most {le:,}",
    "greater_than": "must be more than {gt:,}",
    "less_than": "must be less than {lt:,}",
}


def problems_of(error: ValidationError, model: type[BaseModel], spot: Spot | None = None) -> list[Problem]:
    """Every error as a problem, in the order of the file when the lines are known; at most `MAX_PROBLEMS`."""
    found = [_problem(detail, model, spot) for detail in error.errors(include_url=False)]
    found.sort(key=lambda problem: problem.line or 0)
    if len(found) > MAX_PROBLEMS:
        found[MAX_PROBLEMS:] = [Problem(f"and {len(found) - MAX_PROBLEMS} more mistakes")]
    return found


def suggest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that was probably meant; empty when none is near."""
    by_folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name[:100].casefold(), by_folded, n=1, cutoff=0.7)
    return f"did you mean {by_folded[near[0]]}?" if near else ""


def _problem(detail: ErrorDetails, model: type[BaseModel], spot: Spot | None) -> Problem:
    location = tuple(step for step in detail["loc"] if step != "[key]")
    message, hint = _say(detail, model, location)
    line = None
    if spot is not None:
        place = spot.at(location)
        inner = detail.get("ctx", {}).get("line") if detail["type"] == FAULT else None
        line = place.line if inner is None or place.text_line is None else place.text_line + inner - 1
    return Problem(message, path=paths.write(location), hint=hint, line=line)


def _say(detail: ErrorDetails, model: type[BaseModel], location: paths.Path) -> tuple[str, str]:
    """Message and hint of one error."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    name = str(location[-1]) if location else ""
    match kind:
        case "fault":
            said = context["message"], context["hint"]
        case "missing":
            said = f"the field {name} is needed", _where_it_went(name, value)
        case "extra_forbidden":
            said = f"there is no field {name[:60]!r}", _known_fields(model, location)
        case "literal_error":
            said = _say_choice(value, model, location)
        case "string_pattern_mismatch":
            what, example = MEANING.get(context["pattern"], (f"text that fits {context['pattern']}", ""))
            said = f"{_show(value)} is not {what}", f"for example {example}" if example else ""
        case _ if kind in _JSON_TYPES:
            said = _say_type(kind, value)
        case _ if kind in _LIMITS:
            said = _LIMITS[kind].format(**context), ""
        case _:
            said = detail["msg"][:1].lower() + detail["msg"][1:], ""
    return said


def _say_type(kind: str, value: Any) -> tuple[str, str]:
    message = f"must be {_JSON_TYPES[kind]}, not {_type_of(value)}"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return message, "put it in quotes"
    if kind in {"int_type", "float_type"} and isinstance(value, str) and value.strip().isdigit():
        return message, "write it without quotes"
    if kind == "list_type" and not isinstance(value, dict):
        return message, "put a dash before it, or brackets around it"
    return message, ""


def _say_choice(value: Any, model: type[BaseModel], location: paths.Path) -> tuple[str, str]:
    choices = [str(choice) for choice in get_args(_bare(_annotation(model, location)))]
    if not isinstance(value, str):
        hint = "put it in quotes" if str(value) in choices else ""
        return f"must be one of {', '.join(choices)}, not {_type_of(value)}", hint
    message = f"{_show(value)} is not one of {', '.join(choices)}" if len(choices) > 1 else f"must be {choices[0]}"
    return message, suggest(value, choices)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:30]}"
    if isinstance(value, str):
        return f"the text {_show(value)}"
    return "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else type(value).__name__


def _show(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:59] + "…")


def _where_it_went(name: str, given: Any) -> str:
    """A missing field is often there under a name with a slip in it."""
    if not isinstance(given, Mapping):
        return ""
    near = suggest(name, [key for key in given if isinstance(key, str)])
    return near.replace("did you mean ", "is it what you wrote as ") if near else ""


def _known_fields(model: type[BaseModel], location: paths.Path) -> str:
    parent = _bare(_annotation(model, location[:-1]))
    if not (isinstance(parent, type) and issubclass(parent, BaseModel)):
        return ""
    names = [info.alias or name for name, info in parent.model_fields.items()]
    hint = suggest(str(location[-1]), names)
    return hint or (f"fields here are {', '.join(sorted(names))}" if len(names) <= 12 else "")


def _annotation(model: Any, location: paths.Path) -> Any:
    """The declared type of what stands at a place."""
    here = model
    for step in location:
        here = _bare(here)
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {info.alias or name: info.annotation for name, info in here.model_fields.items()}
            here = fields.get(str(step))
        elif get_origin(here) in {list, dict}:
            here = get_args(here)[-1]
        else:
            return None
    return here


def _bare(annotation: Any) -> Any:
    """A type without Annotated and None around it."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, types.UnionType}:
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation
