"""What may follow what: as many patches as an image has, then the end; where a picture is completed, what is kept of it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

from puji.modality import END


class ImageGrammar:
    """``codes``: all patch tokens; ``kept``: of each patch its token, or None where any may stand."""

    def __init__(self, codes: Sequence[str], kept: Sequence[str | None]) -> None:
        self.codes = frozenset(codes)
        self.kept = [None if token is None else frozenset((token,)) for token in kept]
        self.last = frozenset((END,))

    def start(self, prompt: Sequence[str]) -> Hashable:
        """Before the first patch."""
        return 0

    def allowed(self, state: Hashable) -> Collection[str]:
        """Any patch, or the one that is kept; END behind the last."""
        place = state if isinstance(state, int) else len(self.kept) + 1
        if place < len(self.kept):
            return self.kept[place] or self.codes
        return self.last if place == len(self.kept) else ()

    def advance(self, state: Hashable, token: str) -> Hashable:
        """The number of tokens so far."""
        return state + 1 if isinstance(state, int) else state
