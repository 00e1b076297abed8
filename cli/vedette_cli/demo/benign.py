"""Everyday noise in the wanted amount, mixed by the time of day on the story's clock."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vedette_cli.demo import habits_cloud, habits_unix, habits_windows
from vedette_cli.demo.habits_unix import Steps
from vedette_cli.demo.shapes import Make, Moment

OPENING = 7.5
"""The story begins at half past seven, on its own clock, in hours."""


@dataclass(frozen=True, slots=True)
class Habit:
    """One kind of activity: how often it happens compared to others, and when.

    Attributes:
        act: makes one occurrence.
        weight: its share when it is at its usual level.
        rush: how much more often it happens at nine o'clock; 0 for machines, which do not look at the clock.
    """

    act: Callable[[random.Random], Steps]
    weight: float
    rush: float = 0.0

    def share(self, hour: float) -> float:
        """The weight at an hour of the day; people arrive around nine, within about 40 minutes."""
        return self.weight * (1 - 0.6 * bool(self.rush) + self.rush * math.exp(-(((hour - 9.0) / 0.65) ** 2)))


HABITS = (
    Habit(habits_unix.ssh_session, 2.0, rush=2.0),
    Habit(habits_unix.ssh_typo, 0.5, rush=3.0),
    Habit(habits_unix.ssh_background, 3.0),
    Habit(habits_unix.backup_as_root, 0.3),
    Habit(habits_unix.sudo, 1.2, rush=1.0),
    Habit(habits_unix.cron, 2.0),
    Habit(habits_unix.process, 9.0),
    Habit(habits_windows.process_by_person, 9.0, rush=1.5),
    Habit(habits_windows.process_by_system, 8.0),
    Habit(habits_windows.backup_rotates_its_copy, 0.1),
    Habit(habits_windows.logon, 4.0, rush=3.0),
    Habit(habits_windows.provisioning, 0.1),
    Habit(habits_windows.network, 6.0, rush=1.0),
    Habit(habits_windows.file_saved, 3.0, rush=1.0),
    Habit(habits_windows.defender_scans, 1.5),
    Habit(habits_cloud.api_call, 8.0),
    Habit(habits_cloud.bucket_change, 0.3),
    Habit(habits_cloud.console_login, 0.4, rush=2.0),
    Habit(habits_cloud.cluster_component, 9.0),
    Habit(habits_cloud.kubectl, 1.5, rush=1.0),
    Habit(habits_cloud.gitops_binding, 0.2),
    Habit(habits_cloud.node_check, 0.3),
    Habit(habits_cloud.browsing, 10.0, rush=1.5),
    Habit(habits_cloud.tool_download, 0.5),
)
MIX_HOLDS = 60.0
"""Seconds on the story's clock for which one mix of habits is good enough."""


def noise(rng: random.Random, duration: float, count: int) -> Iterator[Moment]:
    """`count` events in order of time over `duration` story seconds.

    An activity's later steps take the place of new activities when their time has come, so that the amount stays what
    was asked for. Memory holds only the steps that are still to come.
    """
    waiting: list[tuple[float, int, str, Make]] = []
    serial = 0
    weights: list[float] = []
    mixed_until = -1.0
    for index in range(count):
        now = (index + rng.random()) * duration / count
        if now > mixed_until:
            weights = [habit.share(OPENING + now / 3600) for habit in HABITS]
            mixed_until = now + MIX_HOLDS
        if not waiting or waiting[0][0] > now:
            for delay, source, make in rng.choices(HABITS, weights)[0].act(rng):
                serial += 1
                heapq.heappush(waiting, (now + delay, serial, source, make))
        _, _, source, make = heapq.heappop(waiting)
        yield Moment(now, source, make)
