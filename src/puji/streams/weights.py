"""The weights of the forecaster: a plain Hugging Face folder, with where they come from and the hash of each file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from puji.errors import Invalid
from puji.files import atomic_write, sha256
from puji.streams import tokens

FOLDER = Path(__file__).parent / "weights"
FILES = ("config.json", "model.safetensors")
CARD = "provenance.json"
SPREADS = (0.5, 2.0)
"""Between them lies a factor on the spread that is believed."""


def save(network: LlamaForCausalLM, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write ``network`` in half precision with its ``provenance``. Raises Invalid if the folder cannot be written."""
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in network.state_dict().items()}
    tensors.pop("lm_head.weight", None)  # the same as the embedding
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / FILES[0], network.config.to_json_string())
    atomic_write(folder / FILES[1], lambda path: save_file(tensors, path, {"format": "pt"}))
    hashes = {name: sha256(folder / name) for name in FILES}
    card = {**provenance, "step_seconds": tokens.STEP, "width": tokens.WIDTH, "files": hashes}
    atomic_write(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


def spread(folder: Path = FOLDER) -> float:
    """The factor on the spread of the network's continuations, see `EngineForecaster`; 1 where none was fitted.

    Raises Invalid if the folder is damaged.
    """
    try:
        told = json.loads((folder / CARD).read_text("utf-8")).get("spread", {"factor": 1.0})
        factor = float(told["factor"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid("streams.weights", source=str(folder)) from error
    if not SPREADS[0] <= factor <= SPREADS[1]:
        raise Invalid("streams.weights", source=str(folder))
    return factor


def calibrate(told: Mapping[str, Any], folder: Path) -> None:
    """Keep what was fitted, with at least ``factor``. Raises Invalid if the folder cannot be written."""
    card = json.loads((folder / CARD).read_text("utf-8"))
    atomic_write(folder / CARD, json.dumps({**card, "spread": dict(told)}, indent=1, ensure_ascii=False) + "\n")


def load(folder: Path = FOLDER) -> LlamaForCausalLM:
    """The network in ``folder``. Raises Invalid if it is missing, damaged, or speaks of other tokens."""
    try:
        card = json.loads((folder / CARD).read_text("utf-8"))
        hashes = {name: sha256(folder / name) for name in FILES}
        if hashes != card["files"]:
            raise Invalid("streams.weights", source=str(folder))
        network: Any = LlamaForCausalLM(LlamaConfig.from_json_file(folder / FILES[0]))
        # Embedding and head are one tensor, which the file has once.
        missing, unexpected = network.load_state_dict(load_file(folder / FILES[1]), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise Invalid("streams.weights", source=str(folder))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise Invalid("streams.weights", source=str(folder)) from error
    config = network.config
    same = config.vocab_size == tokens.VOCABULARY and config.max_position_embeddings == tokens.CONTEXT
    if not same or (card.get("step_seconds"), card.get("width")) != (tokens.STEP, tokens.WIDTH):
        raise Invalid("streams.weights", source=str(folder))
    network.eval()
    found: LlamaForCausalLM = network
    return found
