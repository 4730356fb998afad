"""Puji (普及): generative medicine on the computer that a clinic already has. Read `puji.flow` first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from puji.errors import Invalid
from puji.registry import list_modalities, load, shipped

if TYPE_CHECKING:
    from puji.batch import Batch
    from puji.modality import Modality
    from puji.model import Model
    from puji.training import fit

__all__ = ["Batch", "Invalid", "Modality", "Model", "fit", "list_modalities", "load", "shipped"]

_LATER = {"Batch": "puji.batch", "Modality": "puji.modality", "Model": "puji.model", "fit": "puji.training"}


def __getattr__(name: str) -> Any:
    # torch and polars take seconds to import: ``puji --help`` must not wait for them.
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'puji' has no attribute {name!r}")
