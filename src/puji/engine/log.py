"""The log of a training run: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from puji.files import atomic_write


class Log:
    """The lines of a run, appended as it goes, and cut back to where a resumed run continues."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: dict[str, Any]) -> None:
        """Write one line; it carries its ``step``."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def restore(self, step: int, *, write: bool) -> list[dict[str, Any]]:
        """The lines up to ``step``; with ``write`` later ones and one that was cut off are removed from the file."""
        lines: list[dict[str, Any]] = []
        if not self.path.exists():
            return lines
        for text in self.path.read_text("utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line["step"] <= step:
                lines.append(line)
        if write:
            atomic_write(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        return lines
