"""One index: the events of one retention class and one UTC day. The only module that imports tantivy.

A folder holds the index, and bounds of the times inside it (`bounds`), so that a reader may skip the partition without
opening it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from tantivy import (
    DocAddress,
    Document,
    FieldType,
    Filter,
    Index,
    Occur,
    Order,
    SchemaBuilder,
    Searcher,
    TextAnalyzer,
    TextAnalyzerBuilder,
    Tokenizer,
)
from tantivy import Query as IndexQuery

from vedette_backends.errors import RefusedError, UnavailableError
from vedette_backends.store.bounds import META, Bounds, read_bounds, write_bounds
from vedette_backends.store.protocol import NewEvent, StoredEvent
from vedette_backends.store.stored import STORED
from vedette_backends.store.tokens import Terms, stamp_term, terms_of

__all__ = [
    "SCHEMA",
    "IndexQuery",
    "Occur",
    "Partition",
    "PartitionWriter",
    "Row",
    "Searcher",
    "analyse",
]

_INDEX_META: Final = "meta.json"
_TIE_BYTES: Final = 7
_MAX_LIMIT: Final = 2**31 - 1
_LAST: Final = 2**63 - 1


def _schema() -> SchemaBuilder:
    return (
        SchemaBuilder()
        .add_text_field("id", tokenizer_name="raw", index_option="basic")
        .add_integer_field("time", indexed=True, fast=True)
        .add_integer_field("ingested", indexed=True, fast=True)
        .add_integer_field("tie", fast=True)
        .add_text_field("kv", tokenizer_name="raw", index_option="basic")
        .add_text_field("names", tokenizer_name="names", index_option="basic")
        .add_text_field("text", tokenizer_name="words", index_option="position")
        .add_text_field("message", tokenizer_name="words", index_option="position")
        .add_bytes_field("event", stored=True, indexed=False, fast=False)
    )


SCHEMA: Final = _schema().build()


def _words() -> TextAnalyzer:
    # No filter for long words: a hash or a token is what people look for.
    return TextAnalyzerBuilder(Tokenizer.simple()).filter(Filter.lowercase()).build()


_WORDS: Final = _words()


def analyse(text: str) -> list[str]:
    """The words of a text as the index sees them."""
    return _WORDS.analyze(text)


def _register(index: Index) -> Index:
    index.register_tokenizer("names", TextAnalyzerBuilder(Tokenizer.whitespace()).build())
    index.register_tokenizer("words", _words())
    return index


def tie(event_id: str) -> int:
    """A number that orders ids as their text does, as far as it reaches."""
    return int.from_bytes(event_id.encode(errors="replace")[:_TIE_BYTES].ljust(_TIE_BYTES, b"\0"), "big")


@dataclass(frozen=True, slots=True)
class Row:
    """One hit, not yet loaded."""

    time: int
    tie: int
    address: DocAddress


def _open(folder: Path) -> Index:
    try:
        index = Index.open(str(folder))
    except (ValueError, OSError) as error:
        raise RefusedError(f"the index in {folder} cannot be read: {error}; restore it from a snapshot") from error
    # By hand: the default starts a thread per index that looks at the file twice a second.
    index.config_reader("manual")
    return _register(index)


class Partition:
    """Reads one partition; sees what was committed when `refresh` was called. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = _open(folder)
        self._seen: tuple[int, int, int] | None = None
        self._searcher: Searcher = self._index.searcher()
        self.refresh()

    def refresh(self) -> None:
        """Take up new commits; one `stat` when there are none."""
        try:
            status = (self.folder / _INDEX_META).stat()
        except FileNotFoundError:
            return  # dropped while it is open: what is mapped still answers
        seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        if seen != self._seen:
            try:
                self._index.reload()
            except (ValueError, OSError) as error:
                if not self.folder.exists():
                    return
                raise UnavailableError(f"the index in {self.folder} cannot be read: {error}") from error
            self._searcher = self._index.searcher()
            self._seen = seen

    @property
    def searcher(self) -> Searcher:
        """The current view; keep it for the whole of one question."""
        return self._searcher

    @property
    def events(self) -> int:
        """Number of events."""
        return int(self._searcher.num_docs)

    def stored_hash(self, event_id: str) -> str | None:
        """`hash` of the event with this id; None when there is none."""
        if not self._searcher.doc_freq("id", event_id):
            return None
        found = self._find(event_id)
        return None if found is None else str(found[1])

    def get(self, event_id: str) -> StoredEvent | None:
        """The event with this id."""
        found = self._find(event_id) if self._searcher.doc_freq("id", event_id) else None
        return None if found is None else _event(found)

    def _find(self, event_id: str) -> list[Any] | None:
        searcher = self._searcher
        hits = searcher.search(IndexQuery.term_query(SCHEMA, "id", event_id, "basic"), limit=1, count=False).hits
        return _load(searcher, hits[0][1]) if hits else None


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    """What the library raises while it reads segments that are damaged."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise RefusedError(f"an index of events is damaged: {error}; restore it from a snapshot") from error


def _load(searcher: Searcher, address: DocAddress) -> list[Any]:
    with _reading():
        stored: bytes = searcher.doc(address).get_first("event") or b""
        loaded: list[Any] = orjson.loads(stored)
    return loaded


def _event(stored: Sequence[Any]) -> StoredEvent:
    event_id, _, time, ingested, document = stored
    return StoredEvent(id=event_id, time=time, ingested=ingested, document=document)


def load(searcher: Searcher, row: Row) -> StoredEvent:
    """The event of a hit."""
    return _event(_load(searcher, row.address))


def count(searcher: Searcher, query: IndexQuery) -> int:
    """Number of matches."""
    with _reading():
        found = searcher.search(query, limit=1, count=True)
    return int(found.count)  # type: ignore[attr-defined]  # the library's stub forgets this property


def first_rows(searcher: Searcher, query: IndexQuery, size: int, *, newest: bool) -> list[Row]:
    """At most `size` matches by time; of matches with equal time any."""
    order = Order.Desc if newest else Order.Asc
    limit = min(max(size, 1), _MAX_LIMIT, max(int(searcher.num_docs), 1))
    with _reading():
        hits = searcher.search(query, limit=limit, count=False, order_by_field="time", order=order).hits
        ties = searcher.fast_field_values("tie", [address for _, address in hits])
    return [Row(int(time), int(rank or 0), address) for (time, address), rank in zip(hits, ties, strict=True)]


def row_pages(searcher: Searcher, query: IndexQuery, size: int) -> Iterator[list[Row]]:
    """All matches by time, in parts of about `size`; those of one time are in one part, however many they are."""
    rest = query
    while True:
        rows = first_rows(searcher, rest, size, newest=False)
        if len(rows) < size:
            yield rows
            return
        edge = rows[-1].time
        yield [row for row in rows if row.time != edge]
        yield rows_at(searcher, query, edge)
        if edge == _LAST:
            return
        rest = all_of([query, time_query("time", edge + 1, None)])


def rows_at(searcher: Searcher, query: IndexQuery, time: int) -> list[Row]:
    """All matches of one time."""
    same = all_of([query, time_query("time", time, time)])
    amount = count(searcher, same)
    return first_rows(searcher, same, amount, newest=False) if amount else []


def all_stamped(searcher: Searcher) -> bool:
    """Whether every event of the partition says when it was stored."""
    return int(searcher.doc_freq("names", STORED)) == int(searcher.num_docs)


def newest_ingested(searcher: Searcher) -> int | None:
    """The latest `event.ingested` of a partition."""
    with _reading():
        hits = searcher.search(IndexQuery.all_query(), limit=1, count=False, order_by_field="ingested").hits
    return int(hits[0][0]) if hits else None


def buckets(searcher: Searcher, query: IndexQuery, interval: int) -> list[tuple[int, int]]:
    """(start, count) of the buckets of event time that are not empty."""
    ask = {"b": {"histogram": {"field": "time", "interval": interval, "min_doc_count": 1}}}
    with _reading():
        found = searcher.aggregate(query, ask)["b"]["buckets"]
    return [(int(bucket["key"]), int(bucket["doc_count"])) for bucket in found]


def values_with_prefix(searcher: Searcher, prefix: str, query: IndexQuery | None, limit: int) -> list[tuple[str, int]]:
    """The most frequent terms of `kv` that begin with `prefix`, without it, and how many matches hold each."""
    with _reading():
        found = searcher.terms_with_prefix("kv", prefix, query, limit)
    return [(term[len(prefix) :], amount) for term, amount in found]


def all_of(parts: list[IndexQuery]) -> IndexQuery:
    """Every part holds."""
    if not parts:
        return IndexQuery.all_query()
    if len(parts) == 1:
        return parts[0]
    return IndexQuery.boolean_query([(Occur.Must, part) for part in parts])


def time_query(field: str, low: int | None, high: int | None) -> IndexQuery:
    """Bounds on a stamp: low ≤ field ≤ high, over `time` or `ingested`."""
    if low is None and high is None:
        return IndexQuery.all_query()
    return IndexQuery.range_query(SCHEMA, field, FieldType.Integer, low, high)


class PartitionWriter:
    """Writes one partition. One process, one thread at a time; the caller holds the store's lock.

    Args:
        folder: of the partition; made when it does not exist.
        heap: bytes that tantivy may gather before it writes a segment (≥ 15 MB).
    """

    def __init__(self, folder: Path, heap: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._bounds = read_bounds(folder)
        if not (folder / _INDEX_META).exists():
            self._create()
        index = _open(folder)
        try:
            self._writer = index.writer(heap_size=heap, num_threads=1)
        except (ValueError, OSError) as error:
            raise RefusedError(f"{folder} cannot be opened for writing: {error}") from error
        self._reader = Partition(folder)
        self._committed = True

    def _create(self) -> None:
        left = [path.name for path in self.folder.iterdir() if not path.name.startswith(".") and path.name != META]
        if any(not name.endswith(".new") for name in left):
            raise RefusedError(f"{self.folder} has segments but no {_INDEX_META}: restore it from a snapshot")
        try:
            Index(SCHEMA, path=str(self.folder))
        except (ValueError, OSError) as error:
            raise UnavailableError(f"the index in {self.folder} cannot be made: {error}") from error

    def stored_hash(self, event_id: str) -> str | None:
        """`hash` of the committed event with this id."""
        if not self._committed:
            self._reader.refresh()
            self._committed = True
        return self._reader.stored_hash(event_id)

    def add(self, event: NewEvent, stored: int) -> str:
        """Add with its stamp, not yet durable; returns why the document cannot be stored, or an empty string."""
        try:
            made = make_document(event, terms_of(event.document), stored)
        except (ValueError, TypeError) as error:
            return str(error) or error.__class__.__name__
        self.add_document(made)
        return ""

    def add_document(self, document: Document) -> None:
        """Add an index document as it is, not yet durable."""
        self._writer.add_document(document)

    def commit(self, times: Iterable[int], stored: int) -> None:
        """Make what was added, of these event times and this stamp, durable and visible."""
        taken = list(times)
        bounds = Bounds.around(min(taken), max(taken), stored)
        wider = bounds if self._bounds is None else self._bounds.union(bounds)
        if wider != self._bounds:
            write_bounds(self.folder, wider)
            self._bounds = wider
        self._writer.commit()
        self._committed = False

    def abandon(self) -> None:
        """Forget what was added since the last commit, and release the index. For a writer that failed."""
        # Whatever the library still complains of, the first failure is on its way to the caller already.
        with contextlib.suppress(ValueError, OSError):
            self._writer.rollback()
        with contextlib.suppress(ValueError, OSError):
            self._writer.wait_merging_threads()

    def close(self) -> None:
        """Wait for merges and release the index. Raises UnavailableError when a merge could not be written."""
        try:
            self._writer.wait_merging_threads()
        except (ValueError, OSError) as error:
            raise UnavailableError(f"{self.folder}: {error}") from error


def make_document(event: NewEvent, terms: Terms, stored: int) -> Document:
    """The index document of an event stored at `stored`, ms. Raises TypeError, ValueError for values like no JSON's."""
    document = event.document
    if STORED in document:
        document = {name: value for name, value in document.items() if name != STORED}
    encoded = orjson.dumps([event.id, event.hash, event.time, event.ingested, document])
    return Document.from_dict(
        {
            "id": event.id,
            "time": event.time,
            "ingested": event.ingested,
            "tie": tie(event.id),
            "kv": [*terms.kv, stamp_term(stored)],
            "names": f"{terms.names} {STORED}",
            "text": terms.text,
            "message": terms.message,
            "event": encoded,
        },
        SCHEMA,
    )
