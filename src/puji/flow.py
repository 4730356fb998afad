"""READ FIRST. The five steps that every medical record goes through, whatever its kind.

    preprocess  ->  encode  ->  attend  ->  decode  ->  postprocess

`fit` runs 1-3 and learns; `generate` runs 1-5 from a prompt; `predict` compares how likely the engine finds each possible
continuation; `explain` says which tokens drove the answer. They are the methods of `puji.Model`, in model.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from transformers import LlamaForCausalLM

from puji.engine import decode as engine_decode
from puji.engine import network as engine_network
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modality import END, SPELLED, Grammar, Modality, Raw, Record


def preprocess(modality: Modality[Record], source: Path) -> Iterator[Record | Invalid]:
    """Step 1. What a file holds -> clean records; what is refused comes out as Invalid, with its reason and place."""
    yield from cleaned(modality, modality.read(source))


def cleaned(modality: Modality[Record], raws: Iterable[Raw | Invalid]) -> Iterator[Record | Invalid]:
    """The part of step 1 that follows reading."""
    for raw in raws:
        if isinstance(raw, Invalid):
            yield raw
            continue
        try:
            yield modality.preprocess(raw)
        except Invalid as refusal:
            yield refusal.at(raw.source, raw.line)


class Encoded(NamedTuple):
    """Token ids, and how many of the first ones stay in view when the sequence grows longer than the context."""

    ids: list[int]
    header: int


def encode(modality: Modality[Any], vocabulary: Vocabulary, tokens: Sequence[str]) -> Encoded:
    """Step 2. What a record or a prompt says as token strings (`Modality.encode`, `Modality.prompt`) -> ids."""
    return Encoded(vocabulary.encode(tokens), len(vocabulary.encode(tokens[: modality.header(tokens)])))


def attend(network: LlamaForCausalLM, ids: Tensor) -> Tensor:
    """Step 3. Ids (rows, length) -> logits (rows, length, vocabulary): softmax(QK^T / sqrt(d_k)) V, layer by layer."""
    return engine_network.logits(network, ids)


def decode(
    network: LlamaForCausalLM,
    vocabulary: Vocabulary,
    prompts: Iterable[engine_decode.Prompt],
    grammar: Grammar | None = None,
    **options: Any,
) -> Generator[engine_decode.Decoded, None, None]:
    """Step 4. Prompts -> continuations up to END, sampled from the logits under a grammar of what may follow."""
    table = None if grammar is None else engine_decode.GrammarTable(grammar, vocabulary, anything=SPELLED)
    return engine_decode.decode(network, prompts, end=vocabulary.ids[END], grammar=table, **options)


def postprocess(
    modality: Modality[Record], vocabulary: Vocabulary, ids: Sequence[int], prompt: Sequence[str]
) -> Record | Invalid:
    """Step 5. Ids -> token strings without padding and markers -> a valid record, or Invalid with its reason."""
    try:
        return modality.postprocess(vocabulary.decode(ids), prompt)
    except Invalid as refusal:
        return refusal
