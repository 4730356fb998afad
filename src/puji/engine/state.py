"""The whole state of a training run in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from puji.files import atomic_write, temporary_of

KEPT = 2
"""Saved states that stay in the folder: if the newest cannot be read, the one before it is used."""


def states(folder: Path) -> list[Path]:
    """The saved states in ``folder``, newest first."""
    return sorted(folder.glob("state-*.safetensors"), reverse=True)


def write(folder: Path, step: int, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> Path:
    """Save ``tensors`` and JSON ``scalars`` of ``step``; the file appears under its name when it is on the disk.

    Raises Invalid if it cannot be written (full disk); nothing is left behind then, and older states stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"state-{step:010d}.safetensors"
    contiguous = {name: value.detach().contiguous() for name, value in tensors.items()}
    atomic_write(target, save(contiguous, {"puji": json.dumps(scalars)}))
    for old in [*states(folder)[KEPT:], *_cut_off(folder)]:
        old.unlink(missing_ok=True)
    return target


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and scalars of the newest state in ``folder`` that is whole; None if there is none."""
    for path in states(folder):
        try:
            with safe_open(path, framework="pt") as file:
                scalars = json.loads((file.metadata() or {})["puji"])
                return {name: file.get_tensor(name).clone() for name in file.keys()}, scalars  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
    return None


def _cut_off(folder: Path) -> list[Path]:
    """What a process that was killed while it wrote a state has left."""
    return list(folder.glob(temporary_of("state-*.safetensors")))
