"""Which modalities and checkpoints there are, and opening them. Light: torch is imported only to open one."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puji import language
from puji.errors import Invalid

if TYPE_CHECKING:
    from puji.modality import Modality
    from puji.model import Model

CHECKPOINTS = Path(__file__).parent / "checkpoints"
INDEX = CHECKPOINTS / "index.json"
GROUP = "puji.modalities"


def entries() -> dict[str, EntryPoint]:
    """The modalities that are installed, ours and others', by name; nothing is imported."""
    return {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)}


def modality(name: str) -> type[Modality[Any]]:
    """The class of the modality ``name``. Raises Invalid if there is none, or if a package it needs is missing."""
    known = entries()
    if name not in known:
        raise Invalid("modality.unknown", name=name, known=", ".join(known))
    try:
        kind: type[Modality[Any]] = known[name].load()
    except ModuleNotFoundError as error:
        raise Invalid("modality.extra", name=name, package=error.name or "?") from error
    folder = package_folder(known[name]) / "messages"
    if folder.is_dir():
        language.add_folder(folder)
    return kind


def package_folder(entry: EntryPoint) -> Path:
    """The folder of a modality's package, found without importing its module."""
    from importlib.util import find_spec

    spec = find_spec(entry.module.rpartition(".")[0] or entry.module)
    if spec is None or not spec.origin:
        raise Invalid("modality.unknown", name=entry.name, known=", ".join(entries()))
    return Path(spec.origin).parent


def list_modalities() -> dict[str, type[Modality[Any]]]:
    """All modalities whose packages are installed, by name."""
    found = {}
    for name in entries():
        try:
            found[name] = modality(name)
        except Invalid as refusal:
            if refusal.reason != "modality.extra":
                raise
    return found


def shipped() -> dict[str, dict[str, Any]]:
    """The released checkpoints, by name: modality, version, bytes, sha256."""
    if not INDEX.exists():
        return {}
    content: dict[str, dict[str, Any]] = json.loads(INDEX.read_text("utf-8"))
    return content


def folder_of(name: str | Path) -> Path:
    """The checkpoint folder that ``name`` means: a released one (as text only), else a path.

    Raises Invalid if there is neither.
    """
    if isinstance(name, str) and name in shipped():
        return CHECKPOINTS / str(name)
    if Path(name).is_dir():
        return Path(name)
    raise Invalid("checkpoint.unknown", name=str(name), known=", ".join(shipped()))


def load(name: str | Path) -> Model[Any]:
    """Open a released model by name, or a checkpoint folder.

    Raises Invalid if there is none, if a file was changed, truncated or could run code, or if the grammar has another
    version than the code.
    """
    from puji.engine import checkpoint
    from puji.model import Model

    folder = folder_of(name)
    if folder.parent == CHECKPOINTS:
        checkpoint.check_index(folder, shipped()[folder.name])
    kind = modality(checkpoint.describe(folder)["modality"])
    opened = checkpoint.load(folder, modality=kind.name, version=kind.version)
    instance = kind()
    instance.restore(opened.state)
    return Model(instance, opened.vocabulary, opened.network, opened.provenance, name=folder.name)
