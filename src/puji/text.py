"""Lines of text files as people have them: packed or not, UTF-8, UTF-16 or GB18030, with any line ends."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from puji.errors import Invalid

LONGEST_LINE = 100_000
"""Characters. A longer line is passed over in pieces and refused."""

LOOKED_AT = 1000
"""Bytes at the beginning that tell a binary file by a zero."""

Line = tuple[int, str]


DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if it is gzip, whatever its ending. Raises Invalid for a damaged packed file."""
    with path.open("rb") as plain:
        packed = plain.peek(2)[:2] == b"\x1f\x8b"
        if not packed:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain) as unpacked, io.BufferedReader(cast("io.RawIOBase", unpacked)) as buffered:
            try:
                yield cast(BinaryIO, buffered)
            except DAMAGE as error:
                raise Invalid("text.damaged") from error


def lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[Line | Invalid]:
    """Numbered lines of a text file without their ends; Invalid for one that is too long, binary or in no known encoding.

    UTF-8, or UTF-16 with its mark; from the first line on that is not UTF-8, GB18030, which most Chinese programs write.
    Raises Invalid for a binary file, and where a packed one is damaged or cut off.
    """
    number = 0
    try:
        with opened(path) as stream:
            start = cast("io.BufferedReader", stream).peek(LOOKED_AT)[:LOOKED_AT]
            wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
            if b"\0" in start and not wide:
                raise Invalid("text.binary")
            encoding = "utf-8"
            # Latin-1 keeps every byte, and text mode knows all line ends.
            text = io.TextIOWrapper(stream, "utf-16" if wide else "latin-1", errors="replace", newline=None)
            while piece := text.readline(longest):
                number += 1
                if len(piece) == longest and not piece.endswith("\n"):
                    while (rest := text.readline(longest)) and not rest.endswith("\n"):
                        pass
                    yield Invalid("text.long_line", line=number, limit=longest)
                    continue
                if "\0" in piece:
                    yield Invalid("text.nul", line=number)
                    continue
                if not wide:
                    raw = piece.encode("latin-1")
                    try:
                        piece = raw.decode("utf-8-sig" if number == 1 else encoding)
                    except UnicodeDecodeError:
                        encoding = "gb18030"
                        try:
                            piece = raw.decode(encoding)
                        except UnicodeDecodeError:
                            yield Invalid("text.encoding", line=number)
                            continue
                yield number, piece.rstrip("\n")
    except Invalid as refusal:
        raise refusal.at("", number + 1 if refusal.reason == "text.damaged" else refusal.line) from refusal.__cause__
