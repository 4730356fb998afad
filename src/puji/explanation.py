"""What `puji.Model.explain` gives: which tokens and pieces drove an answer, as a picture or a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from puji.errors import Invalid
from puji.figures import ENDINGS, titled
from puji.files import atomic_write
from puji.language import has_text, label, translate
from puji.modality import Piece
from puji.tables import TABLES, write_table


@dataclass
class Explanation:
    """What drove an answer.

    ``scores``: contribution of each token to ``target``, shape (len(tokens),), in the target's unit; ``attention``: rollout
    from row to column, shape (len(tokens), len(tokens)); ``completeness_error``: what integrated gradients leave unexplained
    (None for other methods); ``pieces``: what is told as one thing, the tokens or, say, the events that they tell.
    """

    modality: str
    target: str
    method: str
    tokens: list[str]
    scores: np.ndarray
    attention: np.ndarray
    value: float
    completeness_error: float | None
    pieces: Sequence[Piece]
    pictures: dict[str, str | bytes] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Write the picture to a .svg or .png file, or the scores to a table. Raises Invalid for an ending there is not.

        An .svg tells above the picture what it explains, in the current language.
        """
        target = Path(path)
        pictures = {ENDINGS[mime]: content for mime, content in self.pictures.items() if mime in ENDINGS}
        ending = target.suffix.lower()
        if ending in pictures:
            picture = pictures[ending]
            atomic_write(target, titled(picture, self.caption()) if isinstance(picture, str) else picture)
        elif ending in ENDINGS.values():
            raise Invalid("write.format", source=str(target), formats=", ".join([*pictures, *TABLES]))
        else:
            write_table(self.rows(), target)

    def caption(self) -> list[str]:
        """What the picture shows, in the current language: the answer, then how to read it where the modality says so."""
        legend = f"{self.modality}.explanation"
        told = translate(
            "explain.caption", target=self.aim(), value=f"{self.value:.4g}", method=translate(f"explain.{self.method}")
        )
        return [told, translate(legend)] if has_text(legend) else [told]

    def aim(self) -> str:
        """What is explained, in the current language."""
        keys = (f"{self.modality}.{kind}" for kind in (f"predicted.{self.target}", f"conditions.{self.target}.label"))
        name = label(self.target, *keys)
        own = f"{self.modality}.explained"
        return translate(own, target=name) if has_text(own) else name

    def rows(self) -> list[dict[str, Any]]:
        """One row per piece, from the largest contribution on: its rank, its place, its name and its score."""
        told = [(place, one.name, one.score(self.scores)) for place, one in enumerate(self.pieces)]
        told.sort(key=lambda row: (-abs(row[2]), row[0]))
        return [
            {"rank": rank, "place": place, "piece": name, "score": score}
            for rank, (place, name, score) in enumerate(told, 1)
        ]
