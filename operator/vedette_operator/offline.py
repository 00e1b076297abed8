"""Judging manifests without a cluster: what `vedette test` and admission do.

The same functions judge as in the control loop, so that the answers agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vedette_backends.cluster.objects import config_value
from vedette_crds.alertrule import AlertRule
from vedette_crds.enrichment import Enrichment
from vedette_crds.features import not_yet_supported
from vedette_crds.load import Document
from vedette_crds.logsource import LogSource
from vedette_crds.problems import Problem, ProblemsError
from vedette_engine.alerting.ruletests import tests_not_run
from vedette_engine.enrich.base import compile_enrichment
from vedette_engine.enrich.testing import run_enrichment_tests
from vedette_engine.normalise.normaliser import Normaliser
from vedette_engine.normalise.source import SourceConfig
from vedette_engine.normalise.testing import run_source_tests
from vedette_engine.testing import TestResult
from vedette_operator.enrichments import references
from vedette_operator.places import placed
from vedette_operator.rules import compile_rule
from vedette_operator.tables import Tables

Judged = tuple[Sequence[TestResult], Sequence[Problem]]
"""Results of the tests, and what makes the object unacceptable besides them."""


def judge_document(document: Document, tables: Tables) -> Judged:
    """Tests and problems of one valid manifest. What is not supported yet is no problem; its tests were not run."""
    model = document.model
    if isinstance(model, AlertRule):
        results, problems = _rule(model)
    elif isinstance(model, LogSource):
        results, problems = _source(model)
    elif isinstance(model, Enrichment):
        results, problems = _enrichment(model, document.manifest["spec"], tables)
    else:
        return [], []
    return results, [placed(problem, document) for problem in problems]


def _rule(rule: AlertRule) -> Judged:
    unsupported = not_yet_supported(rule)
    if unsupported:
        return tests_not_run(rule.spec, str(unsupported[0])), []
    compiled = compile_rule(rule.spec)
    return compiled.results, compiled.problems


def _source(source: LogSource) -> Judged:
    unsupported = not_yet_supported(source)
    tests = source.spec.tests
    if unsupported:
        return _not_run([test.name for test in tests], str(unsupported[0])), []
    namespace, name = source.metadata.namespace, source.metadata.name
    try:
        Normaliser(SourceConfig.from_spec(namespace, name, source.spec))
    except ProblemsError as error:
        return _not_run([test.name for test in tests], "the source is not valid"), error.problems
    return run_source_tests(source.spec, namespace, name), []


def _enrichment(enrichment: Enrichment, spec: Mapping[str, Any], tables: Tables) -> Judged:
    names = [test.name or f"test {number}" for number, test in enumerate(enrichment.spec.tests, 1)]
    if unsupported := not_yet_supported(enrichment):
        return _not_run(names, str(unsupported[0])), []
    name = enrichment.metadata.name
    table: bytes | None = None
    for path, reference in references(spec):
        content = tables.read(enrichment.metadata.namespace, reference, path)
        if isinstance(content, Problem):
            if "pvc" in reference:
                return run_enrichment_tests(spec, None, name=name), []  # only a worker has the volume: not run here
            return _not_run(names, "the table is not there"), [content]
        table = content
    _, problems = compile_enrichment(name, spec, table)
    if problems:
        return _not_run(names, "the enrichment is not valid"), problems
    return run_enrichment_tests(spec, table, name=name), []


def _not_run(names: Sequence[str], why: str) -> list[TestResult]:
    return [TestResult(name, None, why, f"spec.tests[{number}]") for number, name in enumerate(names)]


class FolderConfigs:
    """ConfigMaps among the documents of a folder."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._configs = {
            (document.namespace, document.name): document.manifest
            for document in documents
            if document.kind == "ConfigMap"
        }

    def config(self, namespace: str, name: str, key: str) -> bytes | None:
        """One value, as the cluster would give it."""
        found = self._configs.get((namespace, name))
        return None if found is None else config_value(found, key)


def folder_tables(folder: Path, claims: Path, documents: Sequence[Document]) -> Tables:
    """Tables as manifests in a folder name them."""
    return Tables(FolderConfigs(documents), claims, folder)
