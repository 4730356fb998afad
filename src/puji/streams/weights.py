"""The weights of the forecaster: a plain Hugging Face folder, with where they come from and the hash of each file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import LlamaForCausalLM

from puji.errors import Invalid
from puji.files import atomic_write, sha256
from puji.streams import tokens

FOLDER = Path(__file__).parent / "weights"
FILES = ("config.json", "model.safetensors")
CARD = "provenance.json"


def save(network: LlamaForCausalLM, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write ``network`` in half precision with its ``provenance``. Raises Invalid if the folder cannot be written."""
    half = LlamaForCausalLM(network.config)
    half.load_state_dict(network.state_dict())
    half = half.to(torch.bfloat16)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        half.save_pretrained(temporary)
        for name in FILES:
            atomic_write(folder / name, (Path(temporary) / name).read_bytes())
    hashes = {name: sha256(folder / name) for name in FILES}
    card = {**provenance, "step_seconds": tokens.STEP, "width": tokens.WIDTH, "files": hashes}
    atomic_write(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path = FOLDER) -> LlamaForCausalLM:
    """The network in ``folder``. Raises Invalid if it is missing, damaged, or speaks of other tokens."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        hashes = {name: sha256(folder / name) for name in FILES}
        if hashes != card["files"]:
            raise Invalid("streams.weights", source=str(folder))
        network: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise Invalid("streams.weights", source=str(folder)) from error
    config = network.config
    same = config.vocab_size == tokens.VOCABULARY and config.max_position_embeddings == tokens.CONTEXT
    if not same or (card.get("step_seconds"), card.get("width")) != (tokens.STEP, tokens.WIDTH):
        raise Invalid("streams.weights", source=str(folder))
    return network.eval()
