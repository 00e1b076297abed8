"""Imported by the server that children are forked from, for its effect: all that a judgement needs is loaded and built.

Loading the compiler takes a second, more than half of what a judgement may take; forking takes milliseconds.
"""

from __future__ import annotations

import gc

from vedette_operator.admission.judgement import judge

_META = {"name": "warm", "namespace": "warm"}
_API = "vedette.dev/v1alpha1"
_RULE = """
title: Warm
logsource: {product: windows, category: process_creation}
detection: {one: {CommandLine|contains: a, Image|re: 'b+'}, condition: one}
"""

_TEST = {"name": "t", "timeline": [{"event": {"a": 1}}], "expect": {"alerts": 0}}

for _kind, _spec in (
    ("AlertRule", {"sigma": _RULE, "tests": [_TEST]}),
    (
        "AlertRule",
        {
            "severity": "low",
            "search": {"query": "a:/b+/ AND c", "groupBy": ["a"], "condition": {"count": {"gte": 1}}},
            "tests": [_TEST],
        },
    ),
    (
        "LogSource",
        {
            "input": {"http": {"tokenSecretRef": {"name": "warm", "key": "token"}}},
            "format": "syslog",
            "parser": "linux.auth",
            "dataset": "warm",
            "tests": [{"name": "t", "input": "warm", "expect": {"message": "warm"}}],
        },
    ),
    ("Enrichment", {"set": {"labels.warm": "yes"}, "tests": [{"input": {"a": 1}, "expect": {"labels.warm": "yes"}}]}),
    ("Incident", {"title": "Warm"}),
):
    judge({"apiVersion": _API, "kind": _kind, "metadata": _META, "spec": _spec})

# What lives now lives for ever: collectors of the children need not walk it, nor copy the pages that it lies on.
gc.collect()
gc.freeze()
