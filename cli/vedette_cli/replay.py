"""`vedette replay`: dead letters through the pipeline again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from vedette_backends.errors import BackendError
from vedette_backends.store.protocol import DeadLetter, Store
from vedette_cli.data import data_of
from vedette_cli.terminal import plain
from vedette_workers.librarian.replay import replay as replay_letters

PAGE = 200


@click.command()
@click.argument("ids", nargs=-1)
@click.option(
    "--dir", "folder", type=click.Path(exists=True, path_type=Path), help="Folder of manifests.  [default: .]"
)
@click.option("--data", type=click.Path(path_type=Path), help="Data folder.")
@click.option("-n", "--namespace", required=True, help="Whose dead letters.")
@click.option("--source", help="Only those of this source.")
@click.option("--reason", help="Only those with this reason.")
@click.option("--all", "everything", is_flag=True, help="All that wait and fit --source and --reason.")
@click.option("--dry-run", is_flag=True, help="List them, send nothing.")
def replay(
    ids: tuple[str, ...],
    folder: Path | None,
    data: Path | None,
    namespace: str,
    source: str | None,
    reason: str | None,
    everything: bool,
    dry_run: bool,
) -> None:
    """Send dead letters (IDS, or --all) through the pipeline again, under the ids that they had."""
    if bool(ids) == everything:
        raise click.UsageError("name dead letters, or say --all")
    if ids and (source or reason):
        raise click.UsageError("--source and --reason choose among --all")
    paths = data_of(folder, data)
    if namespace not in paths.namespaces():
        raise click.UsageError(f"there is no namespace {namespace}; there are: {', '.join(paths.namespaces())}")
    store, broker = paths.store(namespace), paths.broker(namespace)
    try:
        wanted = []
        for letter in _waiting(store, source, reason) if everything else _named(store, ids):
            wanted.append(letter.id)  # not the letter: there may be many, and each holds its event
            if dry_run:
                click.echo(plain(f"{letter.id}  {letter.source}  {letter.reason}  {letter.detail}"))
        if not dry_run:
            done = replay_letters(store, broker, wanted)
            click.echo(f"{done} dead letters sent again")
            if done < len(set(wanted)):
                click.echo(f"{len(set(wanted)) - done} stay: their source has no queue here", err=True)
    except BackendError as error:
        raise click.ClickException(str(error)) from error
    finally:
        broker.close()
        store.close()


def _named(store: Store, ids: tuple[str, ...]) -> Iterator[DeadLetter]:
    for letter_id in ids:
        letter = store.get_dead_letter(letter_id)
        if letter is None:
            raise click.UsageError(f"there is no dead letter {letter_id}")
        yield letter


def _waiting(store: Store, source: str | None, reason: str | None) -> Iterator[DeadLetter]:
    after: str | None = None
    while True:
        letters, _, after = store.search_dead_letters(source=source, reason=reason, size=PAGE, after=after)
        yield from letters
        if after is None:
            return
