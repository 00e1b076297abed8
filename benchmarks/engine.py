"""The detection engine against the yardstick of ../shared/lab/engine, on the same files, in turns.

    python benchmarks/engine.py [--rounds N] [--lanes LANE...]

The yardstick's own modules are loaded from there, and its lanes made in .cache/lab when they are missing. Both engines
run in one process, in turns of 500 events; the ratio is the median of the rounds' ratios.
Figures are processor time per event on one core, JSON decoding included, with all SigmaHQ development rules, routed by
log source. The yardstick's variant without Hyperscan still uses Hyperscan for keywords; ours does not.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / ".cache" / "lab"
YARDSTICK = ROOT.parent / "shared" / "lab" / "engine"
RUN = Path(__file__).with_name("engine_run.py")
DUEL = Path(__file__).with_name("engine_duel.py")
LANES = ("proc", "win", "mixed", "proc_unique", "win_unique", "mixed_unique")
VARIANTS: tuple[tuple[str, list[str]], ...] = (("with Hyperscan", []), ("without", ["--no-hyperscan"]))
BAR = 1.2


def run(*command: str | Path) -> str:
    """A child's standard output; its complaints go to ours."""
    environment = {**os.environ, "LAB": str(LAB), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def last_line(output: str) -> dict[str, Any]:
    """The JSON that a child prints last."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def prepare() -> None:
    """Make the lanes, with the yardstick's own script."""
    if not YARDSTICK.is_dir():
        sys.exit(f"{YARDSTICK} is not here: the yardstick is not part of the project")
    LAB.mkdir(parents=True, exist_ok=True)
    if not (LAB / "rules_all.pkl").exists():
        print("making the lanes …", flush=True)
        run(YARDSTICK / "lanes.py")


def compare(lanes: list[str], rounds: int) -> bool:
    """Print a table per variant; whether every ratio is within the bar."""
    passed = True
    for title, options in VARIANTS:
        figures = last_line(run(DUEL, LAB, YARDSTICK, *options, "--rounds", str(rounds), "--lanes", *lanes))
        print(f"\n{title}, {rounds} rounds, µs per event: least (median)")
        print(f"{'lane':<14}{'yardstick':>16}{'ours':>16}{'ratio':>8}")
        for lane in lanes:
            theirs, ours = figures[lane]
            ratio = statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
            passed &= ratio <= BAR
            print(f"{lane:<14}{shown(theirs):>16}{shown(ours):>16}{ratio:>8.2f}", flush=True)
    return passed


def shown(figures: list[float]) -> str:
    """Least and median of some figures."""
    return f"{min(figures):.1f} ({statistics.median(figures):.1f})"


def inform(lanes: list[str]) -> None:
    """Print start-up times, memory, and the figures of normalised events."""
    cold = last_line(run(RUN, LAB))
    warm = last_line(run(RUN, LAB, "--warm", "--lanes", *lanes))
    light = last_line(run(RUN, LAB, "--warm", "--no-hyperscan", "--lanes", *lanes))
    print(
        f"\n{cold['rules']} rules: compiled from Sigma in {cold['load_s']:.1f} s, "
        f"loaded compiled in {warm['load_s']:.2f} s"
    )
    print(f"index with statistics of 1,200 events: {warm['build_s']:.1f} s, without Hyperscan {light['build_s']:.1f} s")
    print(
        f"memory: {warm['built_mb']} MB built, {warm['end_mb']} MB after all lanes; "
        f"without Hyperscan {light['built_mb']} and {light['end_mb']} MB"
    )
    try:
        ecs = last_line(run(RUN, LAB, "--warm", "--ecs", "--lanes", *lanes))
    except subprocess.CalledProcessError:
        print("normalised events could not be measured")
        return
    print("normalised events, µs to match, without decoding and normalising:")
    for lane, figures in ecs["lanes"].items():
        print(f"{lane:<14}{figures['micros']:>8.1f}")


def main() -> None:
    """Compare, then inform; the exit status says whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lanes", nargs="*", default=list(LANES))
    args = parser.parse_args()
    prepare()
    if not (LAB / "rules.json").exists():
        run(RUN, LAB)
    passed = compare(args.lanes, args.rounds)
    inform(args.lanes)
    print(f"\nthe bar of {BAR} times the yardstick is {'met' if passed else 'MISSED'} on these lanes")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
