"""The engine and the yardstick in one process, in turns of some hundred events, so that noise hits both alike.

    LAB=… engine_duel.py LAB YARDSTICK [--no-hyperscan] [--rounds N] --lanes LANE...

Prints JSON: lane → figures of each round, of the yardstick and of ours, in µs of processor time per event.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import pickle
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from vedette_engine.detect.engine import Engine
from vedette_engine.detect.naming import NATIVE
from vedette_engine.detect.routing import event_logsources
from vedette_engine.detect.rule import Rule

TURN = 500
SAMPLED_LANES = ("win_unique", "mixed_unique", "proc_unique")
SAMPLED_EVENTS = 400

Match = Callable[[bytes], object]
Forget = Callable[[], object]


def yardstick(lab: Path, folder: Path, *, hyperscan: bool) -> tuple[Match, Forget]:
    """The laboratory's engine, set up as its own bench.py does for `py[-hs]-freq-re2-route`."""
    sys.path.insert(0, str(folder))
    core, sigast, learn, route = (importlib.import_module(name) for name in ("core", "sigast", "learn", "route"))
    vars(sigast)["RX"] = importlib.import_module("re2")
    vars(core)["HSMIN"] = 50 if hyperscan else 0
    rules = pickle.loads((lab / "rules_all.pkl").read_bytes())
    sigast.FREQ.update(learn.freq([rule[2] for rule in rules]))
    engine: Any = route.Routed([rule[:3] for rule in rules])

    def forget() -> None:
        for field in engine.F.values():
            field.memo.clear()
            field.old = {}
            field.imemo.clear()
        engine.plans.clear()
        engine.deads.clear()

    match, loads = engine.match, orjson.loads
    return lambda line: match(loads(line), line), forget


def ours(lab: Path, *, hyperscan: bool) -> tuple[Match, Forget]:
    """Our engine with the rules that engine_run.py compiled, and as large a sample as the yardstick takes."""
    rules = [Rule.from_json(data) for data in orjson.loads((lab / "rules.json").read_bytes())]
    sample = []
    for lane in SAMPLED_LANES:
        lines = (lab / f"{lane}.ndjson").read_bytes().splitlines()
        sample += [orjson.loads(line) for line in lines[:: max(1, len(lines) // SAMPLED_EVENTS)]]
    engine = Engine(rules, naming=NATIVE, sample=sample, hyperscan=hyperscan)
    engine.warm_up()
    match, loads = engine.match, orjson.loads

    def match_line(line: bytes) -> object:
        event = loads(line)
        return match(event, line, event_logsources(event))

    return match_line, engine.forget


def duel(lines: list[bytes], sides: list[tuple[Match, Forget]]) -> list[float]:
    """Microseconds per event of each side over one pass, starting without memory of earlier events."""
    spent = [0.0] * len(sides)
    for _, forget in sides:
        forget()
    for start in range(0, len(lines), TURN):
        turn = lines[start : start + TURN]
        for side, (match, _) in enumerate(sides):
            before = time.process_time()
            for line in turn:
                match(line)
            spent[side] += time.process_time() - before
    return [seconds / len(lines) * 1e6 for seconds in spent]


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lab", type=Path)
    parser.add_argument("yardstick", type=Path)
    parser.add_argument("--no-hyperscan", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lanes", nargs="+", required=True)
    args = parser.parse_args()
    hyperscan = not args.no_hyperscan
    sides = [yardstick(args.lab, args.yardstick, hyperscan=hyperscan), ours(args.lab, hyperscan=hyperscan)]
    gc.collect()
    gc.freeze()
    figures: dict[str, list[list[float]]] = {}
    for lane in args.lanes:
        lines = (args.lab / f"{lane}.ndjson").read_bytes().splitlines()
        rounds = [duel(lines, sides) for _ in range(args.rounds)]
        figures[lane] = [[one[side] for one in rounds] for side in range(len(sides))]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
