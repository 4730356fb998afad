"""Records to train on: cleaned, split by group, and told as training sequences."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic

import numpy as np
import polars as pl

from puji import flow
from puji.engine import window
from puji.engine.batches import Weighted, together
from puji.engine.grammar import GrammarTable
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.files import atomic_write
from puji.modality import END, SPELLED, Modality, Raw, Record, View

CHUNK = 2000
"""Raw records that a worker process cleans at a time."""
MANY = 100_000
"""Records of which a hundredth is enough to watch the loss by."""
KEPT_REFUSALS = 1000
"""Refusals kept with their place; all are counted."""


@dataclass
class Corpus(Generic[Record]):
    """Cleaned records, split so that a group (patient, scaffold) is on one side only, or as the data themselves say.

    ``refused`` counts refusals by reason; ``refusals`` keeps the first `KEPT_REFUSALS` with their place.
    ``sha256`` identifies the source file or folder.
    """

    training: list[Record]
    held_out: list[Record]
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Invalid] = field(default_factory=list)
    sha256: str = ""


def held_out(group: str, share: float) -> bool:
    """Whether a group is held out: a fixed function of its name, so that a later run splits in the same way."""
    digest = hashlib.sha256(group.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def fingerprint(source: Path) -> str:
    """SHA-256 over the names and contents of a file or of all files in a folder."""
    digest = hashlib.sha256()
    paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    for path in paths:
        # The folders may be labels, and the size says where the content ends.
        told = f"{path.relative_to(source).as_posix()}\0{path.stat().st_size}\0" if source.is_dir() else path.name
        digest.update(told.encode("utf-8"))
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def load(
    modality: Modality[Record], source: Path, *, share: float | None = None, cache: Path | None = None, workers: int = 1
) -> Corpus[Record]:
    """Read, clean and split ``source``.

    Parameters
    ----------
    share : float, optional
        Share of the groups that is held out for validation, 0 to below 1; default 0.1, or 0.01 from `MANY` records on.
    cache : Path, optional
        Folder in which the cleaned records are kept, so that the next run over the same source starts at once.
    workers : int
        Processes that clean; more than 1 needs an importable main module.

    Raises Invalid if ``source`` is missing or holds no usable record.
    """
    if not source.exists():
        raise Invalid("data.missing", source=str(source))
    sha = fingerprint(source)
    kept = None if cache is None else cache / f"records-{modality.name}-{modality.version}-{sha[:16]}.parquet"
    cleaned = None if kept is None else _revived(kept)
    if cleaned is None:
        cleaned = _clean(modality, source, workers)
        if kept is not None and cleaned.lines:
            _keep(cleaned, kept)
    lines, groups = cleaned.lines, cleaned.groups
    corpus: Corpus[Record] = Corpus([], [], cleaned.refused, cleaned.refusals, sha)
    if not lines:
        first = f" {corpus.refusals[0].message()}" if corpus.refusals else ""
        raise Invalid("data.nothing", source=str(source), refused=corpus.refused.total(), first=first)
    if share is None:
        share = 0.01 if len(lines) >= MANY else 0.1
    out = {group: held_out(group, share) for group in set(groups)}
    for line, group in zip(lines, groups, strict=True):
        record = modality.revive(line)
        part = modality.part(record) or ("held_out" if out[group] else "training")
        if part != "apart":
            (corpus.held_out if part == "held_out" else corpus.training).append(record)
    if not corpus.training:
        corpus.training, corpus.held_out = corpus.held_out, []
    return corpus


@dataclass
class _Cleaned:
    """Dumped records and their groups, in the order of the source; all refusals counted, the first ones kept."""

    lines: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    refusals: list[Invalid] = field(default_factory=list)

    def take(self, lines: list[str], groups: list[str], refusals: list[Invalid]) -> None:
        """Add what a chunk gave."""
        self.lines += lines
        self.groups += groups
        for one in refusals:
            self.refused[one.reason] += one.details.get("rows", 1)  # one refusal may stand for many
        self.refusals += refusals[: KEPT_REFUSALS - len(self.refusals)]


def _keep(cleaned: _Cleaned, kept: Path) -> None:
    refusals = [[one.reason, one.source, one.line, one.details] for one in cleaned.refusals]
    told = {"refused": cleaned.refused, "refusals": refusals}
    frame = pl.DataFrame({"record": cleaned.lines, "group": cleaned.groups})
    kept.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"puji": json.dumps(told, ensure_ascii=False, default=str)}
    atomic_write(kept, lambda path: frame.write_parquet(path, metadata=metadata))


def _revived(kept: Path) -> _Cleaned | None:
    """What was kept; None if there is nothing, or nothing that can be read."""
    if not kept.exists():
        return None
    try:
        frame = pl.read_parquet(kept, glob=False)
        told = json.loads(pl.read_parquet_metadata(kept).get("puji", "{}"))
        cleaned = _Cleaned(frame["record"].to_list(), frame["group"].to_list(), Counter(told.get("refused", {})))
        for reason, source, line, more in told.get("refusals", []):
            cleaned.refusals.append(Invalid(reason, source=source, line=line, **more))
    except (pl.exceptions.PolarsError, OSError, ValueError, TypeError, AttributeError):
        return None
    return cleaned


def _clean(modality: Modality[Record], source: Path, workers: int) -> _Cleaned:
    cleaned = _Cleaned()
    raws = modality.read(source)
    chunks = iter(lambda: list(islice(raws, CHUNK)), [])
    kind = type(modality)
    if workers > 1:
        # Spawned, not forked: a forked child of a process in which torch runs threads may hang.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for result in _in_order(pool, kind, chunks, ahead=4 * workers):
                cleaned.take(*result)
    else:
        for chunk in chunks:
            cleaned.take(*_clean_chunk(kind, chunk))
    return cleaned


def _in_order(pool: ProcessPoolExecutor, kind: type, chunks: Iterator[Any], ahead: int) -> Iterator[Any]:
    """Results of the chunks in order, with at most ``ahead`` of them under way: bounded memory."""
    waiting: list[Any] = []
    for chunk in chunks:
        waiting.append(pool.submit(_clean_chunk, kind, chunk))
        if len(waiting) >= ahead:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _clean_chunk(
    kind: type[Modality[Any]], raws: Sequence[Raw | Invalid]
) -> tuple[list[str], list[str], list[Invalid]]:
    """Clean one chunk, in a process of its own perhaps."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    modality = kind()
    lines, groups, refusals = [], [], []
    for outcome in flow.cleaned(modality, raws):
        if isinstance(outcome, Invalid):
            refusals.append(outcome)
        else:
            lines.append(modality.dump(outcome))
            groups.append(modality.group(outcome))
    return lines, groups, refusals


def weighted(vocabulary: Vocabulary, view: View) -> Weighted:
    """A view as ids with the loss weight of each."""
    if view.weights is None:
        return Weighted(vocabulary.encode(view.tokens))
    return Weighted(*vocabulary.encode_weighted(view.tokens, view.weights))


class Views(Generic[Record]):
    """Training records as the engine's `Dataset`: each record's views, encoded.

    A sequence longer than ``context`` is cut to its header and a window at a random place. ``ruled``: tell what the modality's
    grammar allows at each place of a body, which costs time.
    """

    def __init__(
        self,
        modality: Modality[Record],
        vocabulary: Vocabulary,
        records: Sequence[Record],
        *,
        context: int,
        seed: int,
        ruled: bool = False,
    ) -> None:
        self.modality = modality
        self.vocabulary = vocabulary
        self.records = records
        self.context = context
        self.seed = seed
        self.rules = Rules(modality, vocabulary) if ruled else None

    def __len__(self) -> int:
        return len(self.records)

    def sequences(self, index: int, epoch: int) -> list[Weighted]:
        """The views of record ``index`` in ``epoch``. Depends on the seed, epoch and index alone."""
        rng = np.random.default_rng([self.seed, epoch, index])
        result: list[Weighted] = []
        for view in self.modality.views(self.records[index], rng):
            one = weighted(self.vocabulary, view)
            if self.rules is not None:
                one = one._replace(allowed=self.rules.along(one.ids))
            if len(one.ids) > self.context:
                one = self._window(view.tokens, one, rng)
            result.append(one)
        return result

    def _window(self, tokens: Sequence[str], one: Weighted, rng: np.random.Generator) -> Weighted:
        header = min(flow.encode(self.modality, self.vocabulary, tokens).header, self.context // 2)
        first = int(rng.integers(header, len(one.ids) - (self.context - header) + 1))
        places = [*range(header), *range(first, first + self.context - header)]
        return Weighted(
            [one.ids[place] for place in places],
            None if one.weights is None else [one.weights[place] for place in places],
            None if one.allowed is None else one.allowed[places],
        )


class Pool:
    """Training sequences that a modality tells at once (`Modality.pool`), as the engine's `Dataset`; the same in every epoch."""

    def __init__(self, vocabulary: Vocabulary, views: Sequence[View]) -> None:
        self.views = together(weighted(vocabulary, view) for view in views)

    def __len__(self) -> int:
        return len(self.views)

    def sequences(self, index: int, epoch: int) -> list[Weighted]:
        """The sequence with the number ``index``."""
        return [self.views[index]]


class Rules:
    """What the grammar of ``modality`` allows, along whole sequences."""

    def __init__(self, modality: Modality[Any], vocabulary: Vocabulary) -> None:
        grammar = modality.grammar(modality.Conditions())
        self.table = None if grammar is None else GrammarTable(grammar, vocabulary, anything=SPELLED)
        self.start, self.end = vocabulary.ids[modality.start], vocabulary.ids[END]
        self.size = len(vocabulary)

    def along(self, ids: Sequence[int]) -> np.ndarray | None:
        """What is allowed at each of ``ids``, packed as in `Weighted`: outside the body, which ends with END, everything."""
        if self.table is None or self.start not in ids:
            return None
        first = ids.index(self.start) + 1
        last = ids.index(self.end, first) + 1 if self.end in ids[first:] else len(ids)
        allowed = np.ones((len(ids), self.size), np.bool_)
        allowed[first:last] = self.table.along(ids[:first], ids[first:last])
        return np.packbits(allowed, axis=1)


def plain(
    modality: Modality[Record], vocabulary: Vocabulary, records: Sequence[Record], context: int, *, ruled: bool = False
) -> list[Weighted]:
    """Each record's own sequence (no directions), for validation: nats per record compare between runs.

    One that is longer than the context comes in pieces, as the window slides over it, each token predicted once. ``ruled``: as in
    `Views`.
    """
    rules = Rules(modality, vocabulary) if ruled else None
    result: list[Weighted] = []
    for record in records:
        ids, header = flow.encode(modality, vocabulary, modality.encode(record))
        allowed = None if rules is None else rules.along(ids)
        header = min(header, context // 2)
        for places, first, stop in window.segments(range(len(ids) - 1), header, context):
            chosen = [*places, stop]
            result.append(
                Weighted(
                    [ids[place] for place in chosen],
                    [0.0] * (len(chosen) - stop + first) + [1.0] * (stop - first),
                    None if allowed is None else allowed[chosen],
                )
            )
    return result
