"""The one way in which Puji says no: `Invalid`, with a reason that a person understands and the place where it stood."""

from __future__ import annotations

from typing import Any

from puji.language import Text, current


class Invalid(Exception):
    """A record, file or option that was refused: why, and where it stood.

    Raised by a modality, returned in a batch's ``rejected``, printed to people.

    Parameters
    ----------
    reason : str
        Key of the message in the catalogues (``messages/en.json``, ``messages/zh.json``), e.g. ``"molecules.unparsable"``.
    source : str
        File or option the content came from; empty if unknown.
    line : int or None
        Line (or record number) in the source, counted from 1.
    **details :
        Values that the message names; a `Text` is told in the language of the message. Never the content of a patient's record.
    """

    def __init__(self, reason: str, *, source: str = "", line: int | None = None, **details: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.source = source
        self.line = line
        self.details = details

    def at(self, source: str, line: int | None) -> Invalid:
        """The same refusal, with the place where the content stood (kept if it was known already)."""
        known = bool(self.source)
        return Invalid(
            self.reason,
            source=self.source if known else source,
            line=self.line if known else line,
            **self.details,
        )

    def message(self, language: str | None = None) -> str:
        """What happened, for people, in ``language`` ("en", "zh"; default: the current one)."""
        text = Text(self.reason, self.details).text(language or current())
        if (rows := self.details.get("rows", 1)) > 1:  # it stands for many
            text += f" (× {rows:,})"
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {text}" if where else text

    def __str__(self) -> str:
        return self.message()
