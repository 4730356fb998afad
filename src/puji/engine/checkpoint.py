"""A trained model as a plain Hugging Face folder with provenance. Only safetensors and JSON are ever loaded.

config.json  generation_config.json  model.safetensors  tokenizer.json  tokenizer_config.json    stock Transformers
modality.json        what Puji adds: modality, grammar version, learned state, provenance, size and hash of each file
modality.safetensors arrays of the learned state, where there are any
README.md            the model card
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import nn
from transformers import GenerationConfig, LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from puji.engine.vocabulary import PAD, SPELL, Vocabulary
from puji.errors import Invalid
from puji.files import sha256

FORMAT = 1
PROVENANCE = "modality.json"
ARRAYS = "modality.safetensors"
REQUIRED = ("config.json", "model.safetensors", "tokenizer.json", PROVENANCE)
RUNS_CODE = {
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".joblib",
    ".npy",
    ".npz",
    ".h5",
    ".msgpack",
    ".py",
    ".so",
}
"""File endings of formats that can run code when loaded, or that nothing here writes: a folder with one is refused."""


@dataclass
class Checkpoint:
    """What a checkpoint folder holds.

    ``state`` is the modality's learned state; ``provenance`` says how the weights came about (data, licence, commit,
    seed, minutes, machine).
    """

    network: LlamaForCausalLM
    vocabulary: Vocabulary
    modality: str
    version: int
    state: dict[str, Any]
    provenance: dict[str, Any]


def check_target(folder: Path) -> None:
    """Raise Invalid if saving to ``folder`` would replace anything but an older checkpoint or an empty folder."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise Invalid("checkpoint.occupied", source=str(folder), name=folder.name)
    known = {PROVENANCE, "README.md"}
    if (folder / PROVENANCE).is_file():
        known |= set(_read_json(folder / PROVENANCE).get("files", {}))
    for path in sorted(folder.iterdir()):
        if path.name not in known or not path.is_file():
            raise Invalid("checkpoint.occupied", source=str(folder), name=path.name)


def save(checkpoint: Checkpoint, folder: Path, *, splitter: str, end: str, card: str, dtype: torch.dtype) -> None:
    """Write ``checkpoint`` to ``folder``, whole or not at all; an older one there is replaced, nothing else.

    ``splitter`` and ``end`` go into tokenizer.json (see `Vocabulary.tokenizer_json`); ``card`` is the README; ``dtype`` is
    the precision in which weights are kept. Raises Invalid if the disk is full, the folder cannot be written, or it holds
    something that is not a checkpoint.
    """
    folder = folder.absolute()
    check_target(folder)
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)
        _write(checkpoint, temporary, splitter=splitter, end=end, card=card, dtype=dtype)
        _replace(temporary, folder)
    except (OSError, SafetensorError) as error:
        raise Invalid("checkpoint.unwritable", source=str(folder), why=str(error)) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _write(checkpoint: Checkpoint, folder: Path, *, splitter: str, end: str, card: str, dtype: torch.dtype) -> None:
    vocabulary = checkpoint.vocabulary
    network = LlamaForCausalLM(checkpoint.network.config)
    nn.Module.to(network, dtype)
    network.load_state_dict(checkpoint.network.state_dict())
    network.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.ids[end],
        max_length=network.config.max_position_embeddings,
    )
    with _quiet():
        network.save_pretrained(folder)
    _write_json(folder / "tokenizer.json", vocabulary.tokenizer_json(splitter, end))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": PAD,
            "eos_token": end,
            "clean_up_tokenization_spaces": False,
            "model_max_length": network.config.max_position_embeddings,
            "model_input_names": ["input_ids", "attention_mask"],
        },
    )
    arrays = {
        key: np.ascontiguousarray(value) for key, value in checkpoint.state.items() if isinstance(value, np.ndarray)
    }
    if arrays:
        save_file(arrays, folder / ARRAYS)
    (folder / "README.md").write_text(card, "utf-8")
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name not in (PROVENANCE, "README.md")
    }
    about = {
        "format": FORMAT,
        "modality": checkpoint.modality,
        "version": checkpoint.version,
        "state": {key: value for key, value in checkpoint.state.items() if key not in arrays},
        "provenance": checkpoint.provenance,
        "files": files,
    }
    _write_json(folder / PROVENANCE, {**about, "sha256": _digest(about)})


def _replace(new: Path, target: Path) -> None:
    """Put the folder ``new`` in the place of ``target``; what stood there is removed only once the new one is in place."""
    for path in new.iterdir():
        path.chmod(0o644)
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    old = None
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(old / target.name)
    try:
        new.rename(target)
    except OSError:
        if old is not None:
            (old / target.name).rename(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def load(folder: Path, *, modality: str | None = None, version: int | None = None) -> Checkpoint:
    """Read the checkpoint in ``folder`` after checking every file's size and hash. Weights come back as float32.

    Raises
    ------
    Invalid
        If the folder or a file is missing, truncated, changed since it was saved, of another modality or grammar
        ``version`` than asked, or if a file could run code when loaded.
    """
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise Invalid("checkpoint.missing", source=str(folder), name=name)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _may_run_code(path):
            raise Invalid("checkpoint.pickle", source=str(path), name=path.name)
    about = describe(folder)
    if modality is not None and about["modality"] != modality:
        raise Invalid("checkpoint.modality", source=str(folder), found=about["modality"], asked=modality)
    if version is not None and about["version"] != version:
        raise Invalid("checkpoint.version", source=str(folder), found=about["version"], known=version)
    for name, expected in about["files"].items():
        _check(folder / name, expected)
    words = sorted(_read_json(folder / "tokenizer.json")["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [word for word, _ in words]
    vocabulary = Vocabulary(tokens[1 : tokens.index(SPELL)])
    with _quiet():
        network = LlamaForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, attn_implementation="sdpa"
        )
    network.eval()
    state = dict(about["state"])
    if (folder / ARRAYS).exists():
        state.update(load_file(folder / ARRAYS))
    return Checkpoint(network, vocabulary, about["modality"], about["version"], state, about["provenance"])


def describe(folder: Path) -> dict[str, Any]:
    """What modality.json says, without loading weights. Raises Invalid as `load` does."""
    if not (folder / PROVENANCE).is_file():
        raise Invalid("checkpoint.missing", source=str(folder), name=PROVENANCE)
    about = _read_json(folder / PROVENANCE)
    if about.get("format") != FORMAT:
        raise Invalid("checkpoint.format", source=str(folder), found=about.get("format"), known=FORMAT)
    if about.pop("sha256", None) != _digest(about):
        raise Invalid("checkpoint.changed", source=str(folder / PROVENANCE))
    return about


def _digest(about: Mapping[str, Any]) -> str:
    told = json.dumps(about, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(told.encode("utf-8")).hexdigest()


def check_index(folder: Path, entry: Mapping[str, Any]) -> None:
    """Compare a released folder with its entry in index.json. Raises Invalid.

    The hash is that of modality.json, which holds the hashes of all other files.
    """
    _check(folder / PROVENANCE, {"bytes": None, "sha256": entry["sha256"]})


def _check(path: Path, expected: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise Invalid("checkpoint.missing", source=str(path.parent), name=path.name)
    size = path.stat().st_size
    if expected["bytes"] is not None and size < expected["bytes"]:
        raise Invalid("checkpoint.truncated", source=str(path), found=size, expected=expected["bytes"])
    if sha256(path) != expected["sha256"]:
        raise Invalid("checkpoint.changed", source=str(path))


def _may_run_code(path: Path) -> bool:
    if path.suffix.lower() in RUNS_CODE:
        return True
    with path.open("rb") as handle:
        head = handle.read(4)
    # Protocol 2+ pickles begin with 0x80 and the protocol number; torch.save and numpy archives are zip files.
    return (head[:2] in {bytes([0x80, protocol]) for protocol in range(2, 6)} and path.suffix != ".safetensors") or (
        head == b"PK\x03\x04"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise Invalid("checkpoint.unreadable", source=str(path), why=str(error)) from error
    if not isinstance(content, dict):
        raise Invalid("checkpoint.unreadable", source=str(path), why="not an object")
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


class _quiet:
    """No progress bars of Transformers on stderr while loading or saving."""

    def __enter__(self) -> None:
        self.bar = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *exception: object) -> None:
        if self.bar:
            transformers_logging.enable_progress_bar()
