"""What helm makes of the chart, as Python objects."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
import yaml
from tests.cluster.tools.build import tools_folder

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "vedette"
VALUES = Path(__file__).resolve().parent / "values"
RELEASE, NAMESPACE = "siem", "siem-system"
"""Unlike the chart's name, so that a name written by hand in a template shows."""

Manifest = dict[str, Any]


class RefusedError(Exception):
    """Helm did not render; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The helm program with folders of its own, so that the user's are left alone."""

    program: Path
    home: Path

    def run(self, *arguments: str) -> str:
        """Its standard output.

        Raises:
            RefusedError: it did not succeed.
        """
        folders = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        command = [str(self.program), *arguments]
        done = subprocess.run(command, env={**os.environ, **folders}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RefusedError(done.stdout + done.stderr)
        return done.stdout

    def render(self, *files: Path, release: str = RELEASE) -> list[Manifest]:
        """The objects of a release with these files of values."""
        return [item for item in yaml.load_all(self.text(*files, release=release), Loader=yaml.CSafeLoader) if item]

    def text(self, *files: Path, release: str = RELEASE) -> str:
        """The same as helm writes it."""
        flags = [flag for file in files for flag in ("--values", str(file))]
        return self.run("template", release, str(CHART), "--namespace", NAMESPACE, *flags)


def not_here(reason: str) -> NoReturn:
    """A skip on a user's machine, a failure where everything has to be there."""
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str) -> Path:
    """One of the cluster's programs."""
    found = tools_folder() / name
    if not os.access(found, os.X_OK):
        not_here(f"{name} is not built: docs/howto/test-on-a-cluster.md says how")
    return found


class Container(NamedTuple):
    """A container, with the pod that it belongs to."""

    owner: str
    pod: Manifest
    spec: Manifest


def name_of(manifest: Mapping[str, Any]) -> str:
    """`Deployment/siem-web`: how tests speak of an object."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of some kinds."""
    return [item for item in manifests if item["kind"] in kinds]


def only(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    (found,) = (item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def pod_templates(manifests: list[Manifest]) -> list[tuple[str, Manifest]]:
    """Templates of pods with the name of the object that holds them."""
    return [
        (name_of(item), item["spec"]["template"]) for item in of_kind(manifests, "Deployment", "StatefulSet", "Job")
    ]


def containers(manifests: list[Manifest]) -> Iterator[Container]:
    """All containers."""
    for owner, template in pod_templates(manifests):
        for part in ("initContainers", "containers"):
            for spec in template["spec"].get(part, ()):
                yield Container(owner, template["spec"], spec)


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Paths of all settings that are not themselves groups of settings; an empty map is one."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, values
