"""The SMILES grammar: it forbids nothing that RDKit writes, and what it lets through is closed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdBase

from puji.errors import Invalid
from puji.modalities.molecules import fragments, tokens
from puji.modalities.molecules.grammar import SmilesGrammar, limit
from puji.modalities.molecules.molecule import canonical, parse
from puji.modalities.molecules.tokens import KEEP, MOL, body, tokenize
from puji.modality import END

from .molecule_strategies import WHOLE, cage, sketch

EXAMPLES = [
    json.loads(line)["smiles"]
    for line in (Path(tokens.__file__).parent / "examples.jsonl").read_text("utf-8").splitlines()
]
DRUGS = (Path(__file__).parent / "data" / "molecules.smi").read_text("utf-8").split()
GRAMMAR = SmilesGrammar()


def refused(words: Sequence[str], prompt: Sequence[str] = (MOL,)) -> str | None:
    """The text up to the first token that the grammar does not allow; None if it allows all."""
    state = GRAMMAR.start(prompt)
    for place, word in enumerate(words):
        if word not in GRAMMAR.allowed(state):
            return f"{''.join(words[:place])} | {word}"
        state = GRAMMAR.advance(state, word)
    return None


@pytest.mark.parametrize("smiles", [*EXAMPLES, *WHOLE, *(cage(size) for size in (9, 12, 35, 102))])
def test_every_golden_and_exotic_molecule_is_allowed(smiles):
    for part in canonical(parse(smiles)).split("."):
        if "*" not in part:
            assert refused(body(part)[1:]) is None


def test_ordinary_molecules_are_allowed():
    for smiles in DRUGS:
        assert refused(body(canonical(parse(smiles)))[1:]) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_random_molecules_are_allowed(seed):
    mol = sketch(random.Random(seed))
    if mol is None:
        return
    for part in canonical(mol).split("."):
        if "*" not in part:
            assert refused(body(part)[1:]) is None


def test_missing_parts_are_allowed_after_their_prompt():
    rng = np.random.default_rng(0)
    for smiles in DRUGS:
        pair = fragments.cuts(parse(smiles), rng)
        if pair is not None:
            prompt = ["<logp:3>", KEEP, *tokens.respelled(tokenize(pair[0]), rng, 0.3), MOL]
            assert refused(body(pair[1])[1:], prompt) is None


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("C(", ")"),
        ("C(C", END),
        ("C1CC", END),
        ("C1", "1"),
        ("C1C", "1"),
        ("C12CC1", "2"),
        ("CC", "."),
        ("CF", "C"),
        ("C=", "F"),
        ("C=O", "C"),
        ("CO", "="),
        ("C#C", "="),
        ("C(C)(C)(C)", "="),
        ("C", "*"),
        ("C", "[*:1]"),
        ("C=", END),
        ("C=", ")"),
        ("[", "]"),
        ("[N", "l"),
        ("[N+", END),
        ("[H", "@"),
        ("[Pt", "C"),
        ("C%", "C"),
        ("C1CC=O", END),
        ("[NH3+]C[O-]", "C"),
        ("", END),
        ("", "1"),
        ("", "="),
        ("", "("),
    ],
)
def test_what_would_not_be_a_molecule_is_forbidden(text, after):
    words = tokenize(text) if not text.startswith("[") or "]" in text else list(text)
    assert refused(words) is None
    assert refused([*words, after]) is not None


def test_points_are_written_once_and_in_order():
    two = [KEEP, *tokenize("[*:1]c1ccccc1[*:2]"), MOL]
    assert refused(["[*:1]", "C", ".", "[*:2]", "F", END], two) is None
    for words in (["C"], ["[*:2]"], ["[*:1]", END], ["[*:1]", "C", END], ["[*:1]", "C", "[*:2]"], ["[*:1]", "="],
                  ["[*:1]", "C", ".", "[*:1]"], ["[*:1]", "1"], ["[*:1]", "C", ".", "[*:2]", "F", "."]):  # fmt: skip
        assert refused(words, two) is not None, words
    ends = [KEEP, *tokenize("CC[*:1].CN[*:2]"), MOL]
    assert refused(["[*:1]", "C", "[*:2]", END], ends) is None
    assert refused(["[*:1]", "C", "(", "[*:2]", ")", "F", END], ends) is None
    for words in (["[*:1]", "[*:2]"], ["[*:1]", "C", END], ["[*:1]", "C", "."], ["[*:1]", "C", "[*:2]", "C"],
                  ["[*:1]", "C", "=", "[*:2]"], ["[*:1]", "C", "(", "[*:2]", ")", "[*:2]"]):  # fmt: skip
        assert refused(words, ends) is not None, words


def walk(
    rng: random.Random, usable: frozenset[str], prompt: Sequence[str] = (MOL,), length: int = 40
) -> list[str] | None:
    """A random sequence that the grammar allows; it closes what is open once it is ``length`` long. None: a dead end."""
    state, words = GRAMMAR.start(prompt), []
    while len(words) < 10 * length:
        allowed = sorted(usable & frozenset(GRAMMAR.allowed(state)))
        if state.kind == "atom-bond":
            # The order of a ring's bond is not checked against the atom where the ring opened.
            allowed = [word for word in allowed if not word[-1].isdigit()]
        if not allowed:
            return None
        if len(words) > length:
            opened = {word[0] for word in state.partial} | {str(label) for ring in state.rings for label in ring.labels}
            closing = [word for word in allowed if word in {END, ")", ".", "]"} or word.lstrip("%") in opened]
            allowed = closing or [word for word in allowed if word not in "(" and not word[-1].isdigit()] or allowed
        word = rng.choice(allowed)
        if word == END:
            return words
        words.append(word)
        state = GRAMMAR.advance(state, word)
    return None


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_carbon_skeletons_that_are_allowed_are_molecules(seed):
    words = walk(random.Random(seed), frozenset({*"C()=#-123", "%10", END}))
    assert words is not None, "there is always a way on"
    with rdBase.BlockLogs():
        assert Chem.MolFromSmiles("".join(words)) is not None, "".join(words)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_is_allowed_is_closed(seed):
    words = walk(random.Random(seed), frozenset(tokens.vocabulary_tokens()))
    if words is None:
        return
    with rdBase.BlockLogs():
        assert Chem.MolFromSmiles("".join(words), sanitize=False) is not None, "".join(words)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["[*:1]c1ccccc1[*:2]", "CC[*:1]", "CC[*:1].CN[*:2]"]))
def test_what_is_generated_around_kept_parts_joins(seed, kept):
    words = walk(random.Random(seed), frozenset({*"C()=#12.", END, *tokens.POINTS}), [KEEP, *tokenize(kept), MOL], 15)
    if words is None:
        return
    record = fragments.join(kept, "".join(words))
    assert fragments.contains(record.mol, fragments.normalised(kept))


def test_states_are_shared_between_molecules():
    seen, steps = set(), 0
    for smiles in DRUGS:
        state = GRAMMAR.start([MOL])
        for word in body(canonical(parse(smiles)))[1:-1]:
            state = GRAMMAR.advance(state, word)
            seen.add(state)
            steps += 1
    assert len(seen) < steps / 4


def test_a_token_that_is_not_allowed_leads_nowhere():
    state = GRAMMAR.advance(GRAMMAR.start([MOL]), ")")
    assert not GRAMMAR.allowed(state)
    assert GRAMMAR.advance(state, "C") == state


def test_limits_follow_charge_and_hydrogens():
    found = {atom: limit(atom)[0] for atom in ("C", "c", "N", "[nH]", "[NH3+]", "[O-]", "[n+]", "[C@@H]", "F", "[*:1]")}
    assert found == {
        "C": 4,
        "c": 4,
        "N": 3,
        "[nH]": 2,
        "[NH3+]": 1,
        "[O-]": 1,
        "[n+]": 4,
        "[C@@H]": 3,
        "F": 1,
        "[*:1]": 1,
    }
    assert limit("[Pt+2]")[0] > 6
    with pytest.raises(Invalid):
        parse("F(C)C")
