import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from puji.engine.vocabulary import PAD, SPELL, Vocabulary

KNOWN = ["<end>", "<mol>", "C", "Cl", "(", ")", "[nH]"]
VOCABULARY = Vocabulary(KNOWN)
TOKENS = st.lists(st.sampled_from(KNOWN) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), max_size=20)


@given(TOKENS)
def test_decoding_inverts_encoding(tokens):
    assert VOCABULARY.decode(VOCABULARY.encode(tokens)) == tokens


def test_nothing_is_unknown_and_ids_are_stable():
    assert VOCABULARY.ids[PAD] == 0
    assert VOCABULARY.ids["<end>"] == 1
    assert len(VOCABULARY) == 1 + len(KNOWN) + 1 + 256
    assert VOCABULARY.encode(["[Pt+2]"]) == [VOCABULARY.first_byte + byte for byte in b"[Pt+2]"]
    assert VOCABULARY.encode(["二", "甲"]).count(VOCABULARY.spell) == 1


def test_reserved_words_are_spelled_not_obeyed():
    tokens = [PAD, SPELL, "<0x41>"]
    assert VOCABULARY.decode(VOCABULARY.encode(tokens)) == tokens
    assert 0 not in VOCABULARY.encode(tokens)


def test_repeated_tokens_are_refused():
    for tokens in (["C", "C"], [""], [PAD], ["<0x00>"]):
        with pytest.raises(ValueError, match="repeat"):
            Vocabulary(tokens)


def test_padding_is_dropped_and_broken_bytes_are_shown():
    assert VOCABULARY.decode([0, VOCABULARY.ids["C"], 0]) == ["C"]
    assert VOCABULARY.decode([VOCABULARY.first_byte + 0xFF]) == ["\ufffd"]


@given(TOKENS)
def test_weights_follow_their_token(tokens):
    weights = [float(index % 2) for index in range(len(tokens))]
    ids, spread = VOCABULARY.encode_weighted(tokens, weights)
    assert ids == VOCABULARY.encode(tokens)
    assert len(ids) == len(spread)


def test_stock_tokenizer_agrees():
    stock = Tokenizer.from_str(json.dumps(VOCABULARY.tokenizer_json(r"<[^<>\s]+>|\[[^\]]*\]|Cl|.", "<end>")))
    tokens = ["<mol>", "C", "Cl", "(", "[nH]", ")", "<end>"]
    assert stock.encode("".join(tokens), add_special_tokens=False).ids == VOCABULARY.encode(tokens)
    assert stock.encode("é", add_special_tokens=False).ids == VOCABULARY.encode(["é"])
