"""Reading manifests from text, files and folders: every document, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vedette_crds import json_text, manifest_yaml, mistakes, paths
from vedette_crds.files import Entry, read_entries
from vedette_crds.foreign import FOREIGN
from vedette_crds.kinds import KINDS
from vedette_crds.manifest_yaml import Spot, Tree
from vedette_crds.problems import Problem
from vedette_crds.resource import API_VERSION, DEFAULT_NAMESPACE, GROUP, Resource

MAX_FILE_BYTES = 2 * 1024 * 1024
MAX_DOCUMENTS = 5_000

#: Kinds that were designed and that a later version brings.
LATER_KINDS = ("RuleException", "NotificationRoute", "ResponseAction", "RulePack", "Watchlist", "Restore")


@dataclass(frozen=True, slots=True)
class Document:
    """One valid object of a file.

    Attributes:
        manifest: as JSON, as the user wrote it, with `metadata.namespace` filled in.
        model: the same as a model; None for a Secret or a ConfigMap.
        line: 1-based line on which it begins.
    """

    kind: str
    namespace: str
    name: str
    manifest: dict[str, Any]
    model: Resource | None
    file: str
    line: int
    spot: Spot = field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    def line_of(self, path: str) -> int | None:
        """The line of what stands at a path (`spec.tests[2].name`), or of the nearest thing around it."""
        return self.spot.at(paths.parse(path)).line if path else self.line

    def line_in(self, path: str, line: int) -> int | None:
        """The file's line of the `line`-th line (from 1) of the block text at a path, as `sigma: |` is one."""
        spot = self.spot.at(paths.parse(path))
        return spot.line if spot.text_line is None else spot.text_line + line - 1


@dataclass(slots=True)
class Loaded:
    """What was read, and what is wrong with the rest."""

    documents: list[Document] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def load_text(text: str | bytes, file: str = "") -> Loaded:
    """The documents of one file's text. A document with any mistake is among the problems only."""
    loaded = _load(text, file)
    _refuse_duplicates(loaded)
    return loaded


def _load(text: str | bytes, file: str) -> Loaded:
    loaded = Loaded()
    decoded = _decode(text, file)
    if isinstance(decoded, Problem):
        loaded.problems.append(decoded)
        return loaded
    for count, (tree, start) in enumerate(_objects(decoded)):
        if count == MAX_DOCUMENTS:
            loaded.problems.append(Problem(f"the file has more than {MAX_DOCUMENTS:,} objects", file=file))
            break
        _load_object(tree, start, file, loaded)
    return loaded


def load_path(path: Path) -> Loaded:
    """The documents of a file, or of all manifests below a folder (`*.yaml`, `*.yml`, `*.json`), by name of the file.

    Names that begin with a dot are left out, and so are symbolic links that lead out of the folder.
    """
    loaded = Loaded()
    for entry in read_entries(path, MAX_FILE_BYTES):
        one = _load_entry(entry)
        loaded.documents += one.documents
        loaded.problems += one.problems
    _refuse_duplicates(loaded)
    return loaded


def validate(
    manifest: Mapping[str, Any], model: type[BaseModel], spot: Spot | None = None
) -> tuple[BaseModel | None, list[Problem]]:
    """The manifest as a model, or everything that is wrong with it."""
    try:
        return model.model_validate(manifest), []
    except ValidationError as error:
        return None, mistakes.problems_of(error, model, spot)


def _load_entry(entry: Entry) -> Loaded:
    if isinstance(entry.content, Problem):
        return Loaded(problems=[entry.content])
    return _load(entry.content, entry.name)


def _decode(text: str | bytes, file: str) -> str | Problem:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_FILE_BYTES:
            return Problem(f"the file has {len(raw):,} bytes", file=file, hint=f"at most {MAX_FILE_BYTES:,}: split it")
        decoded = raw.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Problem(f"byte {error.start:,} is not UTF-8", file=file, line=line, hint="save the file as UTF-8")
    except UnicodeEncodeError as error:
        return Problem(
            f"character {error.start:,} is half of a surrogate pair", file=file, hint="save the file as UTF-8"
        )
    if (position := decoded.find("\0")) >= 0:
        line = decoded.count("\n", 0, position) + 1
        return Problem(
            "there is a NUL character", file=file, line=line, hint="manifests are text; is this another file?"
        )
    return decoded


def _objects(text: str) -> Iterator[tuple[Tree, int]]:
    """Every object with its line; the items of a `v1 List`, as `kubectl get -o yaml` prints one, count one by one."""
    for tree in manifest_yaml.read(json_text.as_yaml(text)):
        value, spot = tree.value, tree.spot
        is_list = isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list)
        if tree.problems or not is_list:
            yield tree, _line(tree)
            continue
        places = spot.at(("items",)).inside
        assert isinstance(places, list)
        for item, place in zip(value["items"], places, strict=True):
            yield Tree(item, place), place.line


def _line(tree: Tree) -> int:
    """Where a document begins for a reader: its first key."""
    inside = tree.spot.inside
    return (
        min((spot.line for spot in inside.values()), default=tree.spot.line)
        if isinstance(inside, dict)
        else tree.spot.line
    )


def _load_object(tree: Tree, line: int, file: str, loaded: Loaded) -> None:
    manifest = tree.value
    title = _title(manifest)
    if tree.problems:
        loaded.problems += [problem.at(object=title, file=file, line=line) for problem in tree.problems]
        if not isinstance(manifest, dict):
            return
    model, problem = _model_for(manifest)
    if problem is not None:
        if not tree.problems:
            loaded.problems.append(_placed(problem, tree.spot, title, file, line))
        return
    assert model is not None
    instance, problems = validate(manifest, model, tree.spot)
    loaded.problems += [one.at(object=title, file=file, line=line) for one in problems]
    if problems or tree.problems or manifest["kind"] == "Namespace":
        return
    metadata = {**manifest["metadata"]}
    metadata.setdefault("namespace", DEFAULT_NAMESPACE)
    loaded.documents.append(
        Document(
            kind=manifest["kind"],
            namespace=metadata["namespace"],
            name=metadata["name"],
            manifest={**manifest, "metadata": metadata},
            model=instance if isinstance(instance, Resource) else None,
            file=file,
            line=line,
            spot=tree.spot,
        )
    )


def _placed(problem: Problem, spot: Spot, title: str, file: str, line: int) -> Problem:
    place = spot.at(paths.parse(problem.path)).line if problem.path else line
    return problem.at(object=title, file=file, line=place)


def _title(manifest: Any) -> str:
    """What to call an object in messages, as far as it can be read."""
    if not isinstance(manifest, dict):
        return ""
    kind, metadata = manifest.get("kind"), manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    namespace = metadata.get("namespace", DEFAULT_NAMESPACE) if isinstance(metadata, dict) else None
    if not isinstance(kind, str):
        return ""
    return f"{kind} {namespace}/{name}"[:160] if isinstance(name, str) and isinstance(namespace, str) else kind[:80]


def _model_for(manifest: Any) -> tuple[type[BaseModel] | None, Problem | None]:
    """The model of a manifest's kind, or why there is none."""
    if not isinstance(manifest, dict):
        return None, Problem("a manifest must be a mapping", hint="begin with apiVersion, kind, metadata, spec")
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if not isinstance(kind, str):
        return None, Problem("the field kind is needed", path="kind" if "kind" in manifest else "", hint=_one_of_ours())
    if kind in KINDS:
        return KINDS[kind], None
    if kind in FOREIGN and (version == "v1" or "apiVersion" not in manifest):
        return FOREIGN[kind], None
    if kind in LATER_KINDS:
        return None, Problem(f"this version does not know the kind {kind} yet", path="kind", hint="a later one does")
    ours = isinstance(version, str) and version.split("/")[0] == GROUP
    near = mistakes.suggest(kind, (*KINDS, *FOREIGN))
    if not ours and near and kind in FOREIGN:
        near = ""
    message = f"there is no kind {kind[:60]!r} in {API_VERSION}" if ours else f"the kind {kind[:60]!r} is not Vedette's"
    return None, Problem(message, path="kind", hint=near or _one_of_ours())


def _one_of_ours() -> str:
    return f"kinds are {', '.join(KINDS)}; Secret, ConfigMap and Namespace of v1 may stand beside them"


def _refuse_duplicates(loaded: Loaded) -> None:
    """Of several objects with one name none is taken: which one was meant cannot be known."""
    first: dict[tuple[str, str, str], Document] = {}
    taken: set[tuple[str, str, str]] = set()
    for document in loaded.documents:
        key = (document.kind, document.namespace, document.name)
        other = first.setdefault(key, document)
        if other is not document:
            taken.add(key)
            loaded.problems.append(
                Problem(
                    f"{document} is also in {other.file or 'this text'}, line {other.line}",
                    object=str(document),
                    path="metadata.name",
                    file=document.file,
                    line=document.line_of("metadata.name"),
                    hint="rename or remove one of them",
                )
            )
    if taken:
        loaded.documents = [one for one in loaded.documents if (one.kind, one.namespace, one.name) not in taken]
