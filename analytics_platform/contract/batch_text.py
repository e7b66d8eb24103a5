"""Binary values as JSON, a batch at a time where that is sure, one by one where it is not.

    values ── read ──> Arrow ──┬── written back: the very same bytes ──> JSON
                               └── other bytes, or in doubt ── one ──> JSON, or what is wrong

Batch readers are fast and not strict: they take texts that are no UTF-8, bytes that are left over, branches that are
none. So one is trusted for no value that does not come back as it was: what becomes of a value depends on its bytes and
its schema alone, never on its neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from analytics_platform.contract.arrow_text import json_texts

_FEW, _PARTS = 4, 16
"""So many values are looked at one by one rather than in parts, and in so many parts are others."""


class Unreadable(ValueError):
    """No value can be read by a schema; the text says why, as a clause about the value."""


@dataclass(frozen=True, slots=True)
class Batches:
    """A batch reader and the writer that is its opposite."""

    read: Callable[[Sequence[bytes]], pa.RecordBatch]
    """May raise anything, also a panic, when one of the values is broken."""
    write: Callable[[pa.RecordBatch], pa.Array]


def texts_of(
    values: Sequence[bytes],
    batches: Batches | None,
    one: Callable[[bytes], bytes],
    sentence: Callable[[Exception], str],
) -> tuple[list[bytes | None], dict[int, str]]:
    """Each value as JSON, null where it cannot be read, and by place what is wrong with those.

    Args:
        values: Written by one schema, without frames.
        batches: None where no batch reader knows the schema.
        one: The exact reader; of what the batch reader reads it makes JSON that says the same.
        sentence: What is wrong with a value, from what `one` raised, in words that hold no part of it.
    """
    texts: list[bytes | None] = [None] * len(values)
    faults: dict[int, str] = {}
    for place in range(len(values)) if batches is None else _in_batches(values, batches, texts):
        try:
            texts[place] = one(values[place])
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - readers raise whatever the bytes make them stumble on
            faults[place] = sentence(error)
    return texts, faults


def _in_batches(values: Sequence[bytes], batches: Batches, texts: list[bytes | None]) -> list[int]:
    """Write what can be read together; returns the places that are left."""
    broken = set(_broken(values, batches, 0, len(values)))
    places = [place for place in range(len(values)) if place not in broken]
    if not places:
        return sorted(broken)
    whole = [values[place] for place in places] if broken else values
    batch = batches.read(whole)
    written = batches.write(batch)
    same = pl.Series(values=pc.equal(written, pa.array(whole, written.type)))
    found, odd = json_texts(batch)
    for place, text, sure in zip(places, found, same & ~odd, strict=True):
        if sure:
            texts[place] = text
        else:
            broken.add(place)
    return sorted(broken)


def _broken(values: Sequence[bytes], batches: Batches, start: int, end: int) -> Iterator[int]:
    """The places of values that the batch reader stumbles on, and of a few beside them."""
    if start == end:
        return
    try:
        batches.read(values[start:end]).validate(full=True)  # which looks for UTF-8
    except BaseException as error:
        # A panic of the reader's is no Exception; an interrupt is none either, and goes on.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if end - start <= _FEW:
            yield from range(start, end)
            return
        step = -(-(end - start) // _PARTS)
        for part in range(start, end, step):
            yield from _broken(values, batches, part, min(part + step, end))
