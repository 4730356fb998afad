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

WAITING = 1_000_000
"""Bytes of lines that wait for one that tells their encoding."""

Line = tuple[int, str]

_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error)
# From here on a character takes three bytes or more in UTF-8.
_THREE_BYTES = "\u0800"


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
            except _DAMAGE as error:
                raise Invalid("text.damaged") from error


def lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[Line | Invalid]:
    """Numbered lines of a text file without their ends; Invalid for one that is too long, binary or in no known encoding.

    UTF-16 with its mark; else each line is UTF-8 or GB18030, which most Chinese programs write, whichever it can be. One that
    can be both is what the last line was that could not; before such a line, what the next one is (`WAITING`), else UTF-8.
    Raises Invalid for a binary file, and where a packed one is damaged or cut off. Every Invalid names the file.
    """
    decoder = _Decoder(str(path))
    waiting: list[tuple[Line | Invalid, Line | Invalid]] = []
    size = 0
    cut: Invalid | None = None
    try:
        for piece in _pieces(path, longest):
            waiting.append((piece, piece) if isinstance(piece, Invalid) else decoder.readings(*piece))
            if decoder.doubtful:
                size += 0 if isinstance(piece, Invalid) else len(piece[1])
                if size < WAITING:
                    continue
                decoder.settle("utf-8")
            yield from (pair[decoder.encoding == "gb18030"] for pair in waiting)
            waiting.clear()
    except Invalid as refusal:
        cut = refusal
    yield from (pair[decoder.encoding == "gb18030"] for pair in waiting)
    if cut is not None:
        raise cut


def _pieces(path: Path, longest: int) -> Iterator[tuple[int, str | bytes] | Invalid]:
    """Numbered lines without their ends; as bytes those that are neither ASCII nor UTF-16. Invalid as in `lines`."""
    number = 0
    try:
        with opened(path) as stream:
            start = cast("io.BufferedReader", stream).peek(LOOKED_AT)[:LOOKED_AT]
            wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
            if b"\0" in start and not wide:
                raise Invalid("text.binary")
            # Latin-1 keeps every byte, and text mode knows all line ends.
            text = io.TextIOWrapper(stream, "utf-16" if wide else "latin-1", errors="replace", newline=None)
            while piece := text.readline(longest):
                number += 1
                if len(piece) == longest and not piece.endswith("\n"):
                    while (rest := text.readline(longest)) and not rest.endswith("\n"):
                        pass
                    yield Invalid("text.long_line", source=str(path), line=number, limit=longest)
                elif "\0" in piece:
                    yield Invalid("text.nul", source=str(path), line=number)
                elif wide and "\ufffd" in piece:
                    yield Invalid("text.encoding", source=str(path), line=number)
                else:
                    piece = piece.rstrip("\n")
                    yield number, piece if wide or piece.isascii() else piece.encode("latin-1")
    except Invalid as refusal:
        raise refusal.at(
            str(path), number + 1 if refusal.reason == "text.damaged" else refusal.line
        ) from refusal.__cause__


class _Decoder:
    """Bytes of lines -> text.

    In GB18030 a line of one Chinese character is UTF-8 by chance in 18 of 100 cases (among them the word for "female"), of two
    in 2, of four in 0.07, by our own Chinese texts. It is then made of characters that take two bytes in UTF-8, such as Latin
    letters with accents; such a line alone is in doubt. A line that is no UTF-8 tells GB18030. Once a line told UTF-8, one
    that is not even GB2312, which usual Chinese text is, counts as damaged: of UTF-8 lines that are cut within a character,
    half are GB18030 by chance, but few GB2312.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.encoding = ""
        """That of the last line that told it; "" before."""
        self.doubtful = False
        """Whether there were lines in doubt, and none that told."""

    def settle(self, encoding: str) -> None:
        """Take ``encoding`` for that of the lines in doubt."""
        self.encoding, self.doubtful = encoding, False

    def readings(self, number: int, raw: str | bytes) -> tuple[Line | Invalid, Line | Invalid]:
        """The line in UTF-8 and in GB18030; the same twice where there is no doubt."""
        if isinstance(raw, str):
            return (number, raw), (number, raw)
        text = _decoded(raw, "utf-8")
        if text is not None and max(text) < _THREE_BYTES:
            self.doubtful = not self.encoding
            # Any two bytes of such a character are a character of GB18030.
            return (number, text), (number, raw.decode("gb18030"))
        encoding = "utf-8"
        if text is None and (self.encoding != "utf-8" or _decoded(raw, "gb2312") is not None):
            encoding, text = "gb18030", _decoded(raw, "gb18030")
        if text is None:
            refusal = Invalid("text.encoding", source=self.source, line=number)
            return refusal, refusal
        self.settle(encoding)
        if number == 1:
            text = text.removeprefix("\ufeff")
        return (number, text), (number, text)


def _decoded(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


def told_lines(path: Path, longest: int = LONGEST_LINE) -> Iterator[Line | Invalid]:
    """As `lines`, without blank lines and comments, which begin with "#"."""
    return (
        line for line in lines(path, longest) if isinstance(line, Invalid) or (line[1].strip() and line[1][0] != "#")
    )
