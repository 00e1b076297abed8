"""What is wrong with something a user wrote: one value for every layer, from YAML syntax to a failing rule test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, told so that its author can mend it.

    Attributes:
        object: what it is about, `AlertRule shop/ssh-guessing`, or empty when that could not be read.
        path: where inside the object, `spec.tests[2].timeline[0].at`; empty for the whole object.
        message: what is wrong, one sentence without a full stop.
        hint: what to do about it; may be empty.
        file: the file as the user named it; empty when there is none.
        line: 1-based line in that file; None when unknown.
    """

    message: str
    object: str = ""
    path: str = ""
    hint: str = ""
    file: str = ""
    line: int | None = None

    def at(self, *, object: str = "", file: str = "", line: int | None = None, under: str = "") -> Problem:  # noqa: A002 # the field's own name
        """The same problem with what an outer layer knows added; what is already known stays."""
        path = ".".join(part for part in (under, self.path) if part).replace(".[", "[")
        return replace(
            self,
            object=self.object or object,
            path=path,
            file=self.file or file,
            line=self.line if self.line is not None else line,
        )

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line is not None else "")
        where = ", ".join(part for part in (place, self.object, self.path) if part)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class ProblemsError(Exception):
    """Several problems at once: users get all of them, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
