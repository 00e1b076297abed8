"""One process of the engine's benchmark: compile or load rules, match lanes of events, print figures as JSON.

    engine_run.py LAB [--no-hyperscan] [--ecs] [--warm] [--lanes LANE...]

LAB holds `<lane>.ndjson` and `rules_all/`. With --warm the rules come from a file of compiled rules in LAB, which is
written when it is missing.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from vedette_engine.detect.engine import Engine
from vedette_engine.detect.naming import ECS, NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.detect.rule import Rule

SAMPLED_LANES = ("win_unique", "mixed_unique", "proc_unique")
SAMPLED_EVENTS = 400


def compiled_rules(folder: Path) -> list[Rule]:
    """Every rule of the folder, from Sigma text."""
    from vedette_engine.detect.sigma import compile_sigma  # noqa: PLC0415 # a warm start does without pySigma

    return [rule for path in sorted(folder.glob("*.yml")) for rule in compile_sigma(path.read_text()).rules]


def megabytes() -> int:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20


def sample(lab: Path, convert: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that witnesses are chosen by, as many as the yardstick takes."""
    events = []
    for lane in SAMPLED_LANES:
        lines = (lab / f"{lane}.ndjson").read_bytes().splitlines()
        events += [convert(orjson.loads(line)) for line in lines[:: max(1, len(lines) // SAMPLED_EVENTS)]]
    return events


def unchanged(event: dict[str, Any]) -> dict[str, Any]:
    """Native events are matched as they are."""
    return event


def to_ecs_names() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The normaliser of Windows events; others stay."""
    from vedette_engine.normalise.windows import to_ecs  # noqa: PLC0415 # only this variant needs it

    return lambda event: dict(to_ecs(event)) if "EventID" in event else event


def measure(engine: Engine, lines: list[bytes], convert: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Microseconds of processor time per event and the number of matches."""
    matches = 0
    if convert is unchanged:
        start = time.process_time()
        for line in lines:
            event = orjson.loads(line)
            matches += len(engine.match(event, line, event_logsources(event)))
    else:
        converted = [convert(orjson.loads(line)) for line in lines]
        start = time.process_time()
        for event in converted:
            matches += len(engine.match(event, None, event_logsources(event)))
    spent = time.process_time() - start
    return {"micros": spent / len(lines) * 1e6, "matches": matches}


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lab", type=Path)
    parser.add_argument("--no-hyperscan", action="store_true")
    parser.add_argument("--ecs", action="store_true", help="match normalised events; their making is not counted")
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("--lanes", nargs="*", default=[])
    args = parser.parse_args()
    cache = args.lab / "rules.json"
    start = time.process_time()
    if args.warm and cache.exists():
        rules = [Rule.from_json(data) for data in orjson.loads(cache.read_bytes())]
    else:
        rules = compiled_rules(args.lab / "rules_all")
        cache.write_bytes(orjson.dumps([rule.to_json() for rule in rules]))
    load = time.process_time() - start
    convert = to_ecs_names() if args.ecs else unchanged
    events = sample(args.lab, convert)
    start = time.process_time()
    engine = Engine(
        rules, naming=ECS if args.ecs else NATIVE, sample=events, hyperscan=False if args.no_hyperscan else None
    )
    engine.warm_up()
    build = time.process_time() - start
    del events
    gc.collect()
    gc.freeze()
    result: dict[str, Any] = {
        "rules": len(rules),
        "load_s": load,
        "build_s": build,
        "built_mb": megabytes(),
        "lanes": {},
    }
    for lane in args.lanes:
        engine.forget()
        lines = (args.lab / f"{lane}.ndjson").read_bytes().splitlines()
        result["lanes"][lane] = measure(engine, lines, convert)
        del lines
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    result["end_mb"] = megabytes()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
