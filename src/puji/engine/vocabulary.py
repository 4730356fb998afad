"""Token strings <-> ids. Nothing is outside it: what has no token of its own is spelled in bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

PAD = "<pad>"
SPELL = "<spell>"
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))


class Vocabulary:
    """An ordered set of tokens: padding (id 0), the modality's tokens, a separator, then the 256 bytes.

    A token without an id is written as its UTF-8 bytes. A run of bytes reads back as one token; `SPELL` stands between
    two spelled tokens that follow each other, and nowhere else, so decoding inverts encoding exactly.

    Parameters
    ----------
    tokens : sequence of str
        The modality's tokens, without padding, separator and bytes. Repeats are refused.

    Raises
    ------
    ValueError
        If a token repeats, is empty, or is one of the reserved ones.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.words: tuple[str, ...] = (PAD, *tokens, SPELL, *BYTES)
        self.ids: dict[str, int] = {word: index for index, word in enumerate(self.words)}
        if len(self.ids) != len(self.words) or "" in self.ids:
            twice = sorted(word for word, count in Counter(self.words).items() if count > 1 or not word)
            raise ValueError(f"tokens that repeat, are reserved or empty: {twice[:5]}")
        self.pad = 0
        self.spell = self.ids[SPELL]
        self.first_byte = self.spell + 1

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, token: str) -> bool:
        return token in self.ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Ids of ``tokens``; those without an id are spelled."""
        result: list[int] = []
        for token in tokens:
            index = self.ids.get(token)
            if index is not None and self.pad < index < self.spell:
                result.append(index)
                continue
            if result and result[-1] >= self.first_byte:
                result.append(self.spell)
            result.extend(self.first_byte + byte for byte in token.encode("utf-8"))
        return result

    def encode_weighted(self, tokens: Sequence[str], weights: Sequence[float]) -> tuple[list[int], list[float]]:
        """Ids of ``tokens`` and the loss weight of each id: a spelled token's weight goes to all its bytes.

        Raises ValueError if the two lengths differ.
        """
        ids: list[int] = []
        spread: list[float] = []
        for token, weight in zip(tokens, weights, strict=True):
            piece = self.encode([token])
            if ids and ids[-1] >= self.first_byte and piece[0] >= self.first_byte:
                piece.insert(0, self.spell)
            ids.extend(piece)
            spread.extend([weight] * len(piece))
        return ids, spread

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Tokens of ``ids``; padding is dropped, a run of bytes is one token. Bytes that are no UTF-8 become U+FFFD."""
        result: list[str] = []
        spelled = bytearray()
        for index in ids:
            if index >= self.first_byte:
                spelled.append(index - self.first_byte)
                continue
            if spelled:
                result.append(spelled.decode("utf-8", errors="replace"))
                spelled.clear()
            if self.pad < index < self.spell:
                result.append(self.words[index])
        if spelled:
            result.append(spelled.decode("utf-8", errors="replace"))
        return result

    def tokenizer_json(self, splitter: str, end: str) -> dict[str, Any]:
        """The same vocabulary as a Hugging Face ``tokenizer.json``, for use without Puji.

        ``splitter`` is the regular expression of the modality's tokens. A token outside the vocabulary falls to its
        characters where these have a token, else to bytes (BPE's byte fallback without merges).
        """
        special = [word for word in self.words if word.startswith("<") and word.endswith(">") and word not in BYTES]
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": self.ids[word],
                    "content": word,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": word in (PAD, end),
                }
                for word in special
            ],
            "normalizer": None,
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": splitter}, "behavior": "Isolated", "invert": False},
            "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": True,
                "ignore_merges": True,
                "vocab": self.ids,
                "merges": [],
            },
        }
