"""`rename`: fields and their new names."""

from __future__ import annotations

from vedette_engine.enrich.errors import EnrichmentError
from vedette_engine.enrich.operation import Operation, Options, require_free
from vedette_engine.normalise.flatten import Event


def make_rename(options: Options, _table: bytes | None) -> Operation:
    """`{old name: new name}`; a new name that is taken fails, because the value there would be lost."""
    require_free([*options, *options.values()])
    pairs = tuple(options.items())

    def apply(event: Event) -> bool:
        present = [(old, new) for old, new in pairs if old in event]
        leaving = {old for old, _ in present}
        arriving = [new for _, new in present]
        taken = next((new for new in arriving if new in event and new not in leaving), None)
        if taken is not None or len(set(arriving)) < len(arriving):
            raise EnrichmentError(f"{taken or 'a new name'} is taken already")
        values = [(new, event.pop(old)) for old, new in present]
        event.update(values)
        return bool(values)

    return Operation(apply, tuple(options))
