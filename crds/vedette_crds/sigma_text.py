"""The text in an AlertRule's `sigma`: that it is YAML and no bomb. What it means is the engine's business."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vedette_crds import manifest_yaml
from vedette_crds.model import Fault

MAX_DOCUMENTS = 100


def documents(text: str) -> list[Any]:
    """The values of the documents, for looking at; those with mistakes are None."""
    return [tree.value for tree in manifest_yaml.read(text)]


def faults(text: str) -> Iterator[Fault]:
    """What is wrong with the text as YAML, each with its line inside the text."""
    trees = list(manifest_yaml.read(text))
    for tree in trees:
        for problem in tree.problems:
            yield Fault(problem.message, hint=problem.hint, at=("sigma",), line=problem.line)
        if not tree.problems and not isinstance(tree.value, dict):
            hint = "begin with title, logsource, detection"
            yield Fault("a Sigma document must be a mapping", hint=hint, at=("sigma",), line=tree.spot.line)
    if not trees:
        yield Fault("there is no Sigma document in the text", at=("sigma",))
    elif len(trees) > MAX_DOCUMENTS:
        hint = f"at most {MAX_DOCUMENTS}: make several rules of it"
        yield Fault(f"there are {len(trees)} Sigma documents", hint=hint, at=("sigma",))
