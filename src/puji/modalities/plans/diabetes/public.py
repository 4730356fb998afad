"""Logged care of type-1 diabetes as a data set: ``puji data get diabetes-care`` simulates it; nothing is fetched."""

from __future__ import annotations

from pathlib import Path

from puji.public import cache_folder

TRAJECTORIES = 40
"""Of two days, of each of the 21 logged patients: 160,000 decisions."""


def get_diabetes_care(folder: Path | None = None) -> Path:
    """The path of the logs, which are simulated if they are not there yet. Raises Invalid for a folder that cannot be written."""
    from puji.modalities.plans.diabetes import care  # the simulator is compiled, which takes seconds

    folder = folder or cache_folder() / "diabetes-care"
    path = folder / "care.ndjson"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        care.write(path, TRAJECTORIES)
    return path
