"""`vedette demo`: two hours of a company's logs, with one intruder in them, sent to a gateway.

`expected_alerts(seed)` tells exactly which alerts the quickstart's rules raise on it.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import orjson

from vedette_cli.demo.benign import OPENING
from vedette_cli.demo.send import Clock, Gateway, Progress, SendError, send
from vedette_cli.demo.shapes import SOURCES, Moment, iso
from vedette_cli.demo.story import DURATION, SCENES, Expected, expected_alerts, play, scenes
from vedette_cli.demo.tokens import TokensError, read_tokens

__all__ = ["Expected", "demo", "expected_alerts", "play"]

TELL_EVERY = 10.0
"""Seconds between two lines of progress where standard error is not a terminal."""
WAITING_EVERY = 5.0
"""Seconds between two lines that say what is waited for."""


def story_clock(offset: float) -> str:
    """The time of day on the story's clock, `08:14`."""
    minutes = int(OPENING * 60 + offset / 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


class Ticker:
    """Shows how far the sending is: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._clear = "\r\x1b[K" if self._terminal else ""
        self._begun = self._told = time.monotonic()
        self._waited = -WAITING_EVERY
        self._scene = ""
        self._titles = {scene.name: scene.title for scene in SCENES}

    def __call__(self, progress: Progress) -> None:
        """Tell it, unless it was told a moment ago."""
        now = time.monotonic()
        if progress.scene != self._scene:
            self._scene = progress.scene
            click.echo(f"{self._clear}{story_clock(progress.story)}  {self._titles[self._scene]}", err=True)
        elif not self._terminal and now - self._told < TELL_EVERY:
            return
        self._told = now
        line = self.line(progress)
        click.echo(f"{self._clear}{line}", err=True, nl=not self._terminal)

    def waiting(self, why: str) -> None:
        """Say why nothing moves, but not at every attempt."""
        now = time.monotonic()
        if now - self._waited >= WAITING_EVERY:
            self._waited = now
            click.echo(f"{self._clear}waiting: {why}", err=True)

    def line(self, progress: Progress) -> str:
        """Events, rate, story clock and alerts in one line."""
        seconds = max(time.monotonic() - self._begun, 0.001)
        repeats = f", {progress.repeats} batches repeated" if progress.repeats else ""
        return (
            f"{story_clock(progress.story)}  {progress.sent:,} events sent, {progress.sent / seconds:,.0f}/s, "
            f"alerts expected so far: {progress.alerts}{repeats}"
        )

    def done(self, progress: Progress) -> None:
        """The last word."""
        click.echo(f"{chr(10) if self._terminal else ''}done: {self.line(progress)}", err=True)


def _default_folder() -> Path:
    quickstart = Path("examples/quickstart")
    return quickstart if quickstart.is_dir() else Path()


def _list_scenes(seed: int) -> None:
    moments = scenes(seed)
    for scene in SCENES:
        click.echo(f"{story_clock(scene.minute * 60)}  {scene.name:<12}  {scene.title}")
        for moment in moments:
            if moment.scene == scene.name:
                for rule in moment.alerts:
                    click.echo(f"{story_clock(moment.offset):>11}  {'alert':<8}  {rule}")


def _write(moments: Iterable[Moment], clock: Clock) -> None:
    out = sys.stdout.buffer
    for moment in moments:
        at = clock.at(moment.offset)
        out.write(orjson.dumps({"source": moment.source, "at": iso(at), "event": moment.make(at)}) + b"\n")
    out.flush()


@click.command(short_help="Send two hours of a company's logs, an intruder among them.")
@click.option("--url", default="http://127.0.0.1:8421", show_default=True, help="The gateway.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that `vedette up` runs, for the sources' tokens.  [default: examples/quickstart, or this folder]",
)
@click.option(
    "--namespace", default="quickstart", show_default=True, help="The namespace of the sources in that folder."
)
@click.option(
    "--rate", default=50.0, show_default=True, type=click.FloatRange(0.1, 100_000), help="Everyday events per second."
)
@click.option(
    "--speed",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0.1, 7200),
    help="Story seconds per second: 60 plays the two hours in two minutes.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events, but for their times.")
@click.option(
    "--once/--loop", default=True, help="Stop at the end, or begin again with the next seed.  [default: once]"
)
@click.option(
    "--backfill",
    is_flag=True,
    help="Send the two hours that end now at once, with times in the past, as fast as they are taken.",
)
@click.option("--dry-run", is_flag=True, help="Write the events as NDJSON to standard output and send nothing.")
@click.option("--list-scenes", is_flag=True, help="Show the scenes and the alerts that they raise, and stop.")
def demo(
    *,
    url: str,
    folder: Path | None,
    namespace: str,
    rate: float,
    speed: float,
    seed: int,
    once: bool,
    backfill: bool,
    dry_run: bool,
    list_scenes: bool,
) -> None:
    """Play a morning at Kestrel Bay Robotics, a company that does not exist.

    Everyday logins, programs, web pages, cloud and cluster calls, and in between one intruder: guessed passwords, a
    root login from abroad, a phished workstation, stolen credentials, a stopped CloudTrail, a new cluster-admin. The
    rules in examples/quickstart raise one alert for each step and none for the rest.

    Events carry the time at which they are sent, so alerts are recent; --backfill gives them the story's own pace, with
    the end of the two hours now.
    """
    if list_scenes:
        _list_scenes(seed)
        return
    noise_events = round(rate * DURATION / speed)
    try:
        if dry_run:
            _write(play(seed, noise_events), _clock(speed, backfill=backfill))
            return
        tokens = read_tokens(folder or _default_folder(), namespace, SOURCES)
        while True:
            ticker = Ticker()
            gateway = Gateway(url, tokens, notice=ticker.waiting)
            progress = send(
                play(seed, noise_events),
                _clock(speed, backfill=backfill),
                gateway,
                secrets.token_hex(8),
                live=not backfill,
                tell=ticker,
            )
            gateway.close()
            ticker.done(progress)
            if once:
                return
            seed += 1
    except (SendError, TokensError) as error:
        raise click.ClickException(str(error)) from error


def _clock(speed: float, *, backfill: bool) -> Clock:
    now = datetime.now(UTC)
    return Clock(now - timedelta(seconds=DURATION)) if backfill else Clock(now, speed)
