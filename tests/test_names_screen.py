"""Similarity of names: BI-SIM, ALINE and Kneser-Ney against printed examples and hand-computed cases; screening."""

import itertools
import math
import time
from pathlib import Path

import numpy as np
import pytest

import puji
from benchmarks.names_kn import KneserNey, bits_per_character
from puji.modalities.names import phonetic
from puji.modalities.names.phonetic import aline, phones
from puji.modalities.names.screen import (
    KnownNames,
    bisim,
    calibrate,
    combined,
    load_pairs,
    published,
)
from puji.modalities.names.suffix import doses, suffix_faults
from puji.modalities.names.tokens import Name


@pytest.mark.parametrize(
    ("first", "second", "printed"),
    [
        # Table 2
        ("zantac", "xanax", 0.417),
        ("zantac", "contac", 0.583),
        ("xanax", "contac", 0.250),
        # Table 4
        ("toradol", "tramadol", 0.6875),
        ("toradol", "tobradex", 0.6250),
        ("toradol", "torecan", 0.5714),
        ("toradol", "stadol", 0.5714),
        ("toradol", "torsemide", 0.5000),
        ("toradol", "theraflu", 0.5000),
        ("toradol", "tegretol", 0.5000),
        ("toradol", "taxol", 0.5000),
    ],
)
def test_bisim_as_printed(first, second, printed):
    """Kondrak & Dorr, COLING 2004: every value that the paper prints."""
    assert bisim(first, second) == pytest.approx(printed, abs=5e-4)
    assert bisim(second, first) == pytest.approx(bisim(first, second))


def test_bisim_as_described():
    """The paper's section 4.3: 1 for identical words alone, 0 for no letter in common; context tells what LCSR does not."""
    assert bisim("abc", "abc") == 1
    assert bisim("abcd", "efgh") == 0
    assert bisim("xanex", "nexan") < 1
    assert bisim("verelan", "virilon") > 0
    assert bisim("amaryl", "amikin") > bisim("amaryl", "altoce")


def test_weighted_bisim_looks_at_the_beginning():
    assert bisim("zantac", "zantol", weighted=True) > bisim("zantac", "zantol")
    assert bisim("zantac", "mintac", weighted=True) < bisim("zantac", "mintac")
    assert bisim("zantac", "zantac", weighted=True) == pytest.approx(1)


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        # Table 5, local, and table 6 of the paper of 2000
        ("græs", "gramen", "g~g r~r æ~a"),
        ("θrij", "tres", "θ~t r~r ij~e"),
        ("blow", "flare", "b~f l~l o~a"),
        ("ful", "plenus", "f~p u~ l~l"),
        ("fiʃ", "piskis", "f~p i~i ʃ~s"),
        ("aj", "ego", "aj~e"),
        ("tuwθ", "dentis", "t~t uw~i θ~s"),
        # The thesis of 2002, after NLTK's port
        ("θin", "tenwis", "θ~t i~e n~n"),
        # "On Covington's Spanish/French data, ALINE does not make any mistakes"
        ("jo", "ʒə", "j~ʒ o~ə"),
    ],
)
def test_aline_aligns_as_printed(first, second, pairs):
    assert " ".join(f"{a}~{b}" for a, b in align(first, second)) == pairs


def align(first, second):
    """The best local alignment: pairs of the parts that match, one or two phones each; "" stands for a skipped phone."""
    a, b = phonetic.numbers(first), phonetic.numbers(second)
    scores, differences, vowel = phonetic.tables()
    table = np.zeros((len(a) + 1, len(b) + 1))
    back = {}
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            options = [(0.0, (0, 0))]
            if i and j:
                options.append((table[i - 1, j - 1] + scores[a[i - 1], b[j - 1]], (1, 1)))
            if i:
                options.append((table[i - 1, j] + phonetic.SKIP, (1, 0)))
            if j:
                options.append((table[i, j - 1] + phonetic.SKIP, (0, 1)))
            if i and j > 1:
                options.append((table[i - 1, j - 2] + expansion(a[i - 1], b[j - 2 : j], differences, vowel), (1, 2)))
            if i > 1 and j:
                options.append((table[i - 2, j - 1] + expansion(b[j - 1], a[i - 2 : i], differences, vowel), (2, 1)))
            table[i, j], back[i, j] = max(options, key=lambda option: option[0])
    i, j = (int(place) for place in np.unravel_index(int(table.argmax()), table.shape))
    pairs = []
    while table[i, j] > 0:
        di, dj = back[i, j]
        pairs.append((first[i - di : i], second[j - dj : j]))
        i, j = i - di, j - dj
    return pairs[::-1]


def expansion(one, two, differences, vowel):
    """sigma_exp of the paper: one phone against two."""
    return float(phonetic.EXPANSION - differences[one, two].sum() - vowel[one] - vowel[two].max())


def test_aline_scores():
    # Equal consonants score C_sub; equal vowels C_sub - 2 C_vwl.
    assert phonetic.local_score(phonetic.numbers("t"), phonetic.numbers("t"), *phonetic.tables()) == 35
    assert phonetic.local_score(phonetic.numbers("ti"), phonetic.numbers("ti"), *phonetic.tables()) == 50
    # b and p differ in voice (10): 35 - 10; b and m in nasality (10).
    assert phonetic.local_score(phonetic.numbers("b"), phonetic.numbers("p"), *phonetic.tables()) == 25
    assert phonetic.local_score(phonetic.numbers("b"), phonetic.numbers("m"), *phonetic.tables()) == 25
    assert aline("tæk", "tæk") == pytest.approx(1)
    assert aline("", "tæk") == 0
    # One vowel against two like it scores more than the mean of both words with themselves.
    assert phonetic.local_score(phonetic.numbers("viɪk"), phonetic.numbers("vik"), *phonetic.tables()) > 92.5
    assert aline("viɪk", "vik") == 1
    said = [phones(name) for pair in load_pairs_here() for name in pair][:60]
    for a, b in itertools.pairwise(said):
        total = align_score(a, b)
        assert total == pytest.approx(
            phonetic.local_score(phonetic.numbers(a), phonetic.numbers(b), *phonetic.tables()), abs=1e-3
        )


def align_score(a, b):
    """The score of `align`'s alignment, added up pair by pair."""
    scores, differences, vowel = phonetic.tables()
    total = 0.0
    for left, right in align(a, b):
        if not left or not right:
            total += phonetic.SKIP
        elif len(left) == len(right) == 1:
            total += scores[phonetic.numbers(left)[0], phonetic.numbers(right)[0]]
        else:
            one, two = sorted((phonetic.numbers(left), phonetic.numbers(right)), key=len)
            total += expansion(one[0], two, differences, vowel)
    return total


def load_pairs_here():
    return load_pairs(Path(phonetic.__file__).parent / "confused.csv")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("xanax", "zænæks"),
        ("zantac", "zæntæk"),
        ("quinine", "kwɪnin"),
        ("phenobarbital", "finobɑrbɪtæl"),
        ("celexa", "silɛksə"),
    ],
)
def test_how_names_sound(name, said):
    close = aline(phones(name), said)
    assert close > 0.93, (name, phones(name), said)


def test_every_name_can_be_said():
    for pair in load_pairs_here():
        for name in pair:
            assert set(phones(name)) <= set(phonetic.PHONES) and len(phones(name)) >= 2
    assert set(phones("bcdfghjklmnpqrstvwxz")) <= set(phonetic.PHONES)


def test_bands_from_published_pairs():
    bands = published()
    pairs = load_pairs_here()
    assert len(pairs) > 100
    assert 0.4 < bands.moderate < bands.high < 0.9
    # Of other pairs of these names few lie above.
    known, names = {frozenset(pair) for pair in pairs}, sorted({name for pair in pairs for name in pair})
    drawn = [(names[a], names[b]) for a, b in np.random.default_rng(0).integers(len(names), size=(1000, 2)) if a != b]
    others = np.array([combined(*pair) for pair in drawn if frozenset(pair) not in known])
    assert (others >= bands.high).mean() < (others >= bands.moderate).mean() < 0.06
    assert bands.band(0.99) == "high"
    assert bands.band(0.1) == "low"


def test_a_users_own_pairs(tmp_path):
    path = tmp_path / "ours.csv"
    pairs = load_pairs_here()[:30]
    path.write_text("first,second\n" + "\n".join(f"{a.upper()},{b}" for a, b in pairs))
    assert load_pairs(path) == pairs
    assert calibrate(load_pairs(path)) != published()
    path.write_text("zantac,xanax\nzantac\n")
    with pytest.raises(puji.Invalid) as caught:
        load_pairs(path)
    assert (caught.value.reason, caught.value.line) == ("names.pair", 2)
    with pytest.raises(puji.Invalid) as caught:
        calibrate([("zantac", "xanax")])
    assert caught.value.reason == "names.few_pairs"
    path.write_text("\n".join(f"{a},{b}" for a, b in pairs), "utf-16")
    assert load_pairs(path) == pairs
    (tmp_path / "list.doc").write_text("zantac,xanax")
    for wrong, why in ((tmp_path / "none.csv", "read.missing"), (tmp_path / "list.doc", "read.ending")):
        with pytest.raises(puji.Invalid) as caught:
            load_pairs(wrong)
        assert (caught.value.reason, caught.value.source) == (why, str(wrong))
    path.write_text("zantac,阿司匹林\n", "gb18030")
    with pytest.raises(puji.Invalid) as caught:
        load_pairs(path)
    assert (caught.value.reason, caught.value.line) == ("names.chinese", 1)


def test_scanning_agrees_with_comparing_one_by_one():
    names = sorted({name for pair in load_pairs_here() for name in pair})
    known = KnownNames({"brand": names})
    for name in ("zantrex", "celebrol", "dox"):
        near = known.nearest(Name("brand", name), n=5)
        expected = sorted((-combined(name, other), other) for other in names)[:5]
        assert [one.name for one in near] == [other for _, other in expected]
        assert [one.score for one in near] == pytest.approx([-score for score, _ in expected], abs=1e-5)


def test_generic_names_of_a_class_are_compared_before_the_stem():
    known = KnownNames({"generic": ["imatinib", "dasatinib", "ponatinib", "imipramine"], "brand": ["imatin"]})
    near = {one.name: one for one in known.nearest(Name("generic", "vonatinib"))}
    assert near["ponatinib"].part and not near["imipramine"].part
    assert near["dasatinib"].score < combined("vonatinib", "dasatinib")
    assert near["ponatinib"].score == pytest.approx(combined("vona", "pona"), abs=1e-5)
    brand = {one.name: one for one in known.nearest(Name("brand", "vonatinib"))}
    assert not any(one.part for one in brand.values())


def test_flags():
    known = KnownNames({"generic": ["imatinib"], "brand": ["xeloda"], "suffix": ["atto"]})
    assert known.screen(Name("brand", "xeloda")).known
    assert known.screen(Name("brand", "xeloda")).band == "high"
    assert [stem.stem for stem in known.screen(Name("brand", "zoratinib")).stems] == ["-tinib"]
    assert known.screen(Name("generic", "zoratinib")).stems == ()
    assert doses("mgvista") == ("mg",)
    assert doses("velbid") == ("bid",)
    assert doses("xeloda") == ()
    assert known.screen(Name("suffix", "atto")).known


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("aabb", "names.suffix.letters"),
        ("heal", "names.suffix.meaning"),
        ("cure", "names.suffix.meaning"),
        ("xbid", "names.suffix.dose"),
        ("xmab", "names.suffix.meaning"),
        ("abc", "names.suffix.length"),
    ],
)
def test_suffixes_that_will_not_do(text, fault):
    assert fault in suffix_faults(text)
    assert suffix_faults("qbwx") == ()


def test_twenty_thousand_names_in_50_ms():
    letters = "bcdfgklmnprstvz"
    names = [f"{a}{v}{b}{w}{c}ol" for a in letters for b in letters for c in letters for v in "aeo" for w in "iu"]
    known = KnownNames({"brand": names})
    assert len(known) > 20_000
    known.nearest(Name("brand", "bavilol"))
    seconds = []
    for _ in range(5):
        began = time.process_time()
        known.nearest(Name("brand", "xelodavir"))
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.05


def test_kneser_ney_by_hand():
    """Fitted on "ab" and "ab" with order 2: c(^a) = c(ab) = c(b$) = 2; no count is 1, so the discount is 1/2."""
    model = KneserNey(["ab", "ab"], 2, alphabet="ab$")
    # Lower order: a, b and $ are each seen after one letter; each occurs once: D = 1 / (1 + 0) -> none twice: 1/2.
    unigram = (1 - 0.5) / 3 + 0.5 * 3 / 3 * (1 / 3)
    assert unigram == pytest.approx(1 / 3)
    after = (2 - 0.5) / 2 + 0.5 * 1 / 2 * unigram
    assert model.probability("^", "a") == pytest.approx(after)
    assert model.probability("a", "b") == pytest.approx(after)
    assert model.probability("a", "$") == pytest.approx(0.25 * unigram)
    assert bits_per_character(model, ["ab"]) == pytest.approx(-math.log2(after))


def test_kneser_ney_sums_to_one():
    model = KneserNey(["imatinib", "dasatinib", "nilotinib", "insulin", "anakinra"], 4)
    for context in ("^^^", "tin", "nib", "zzz", "ina"):
        assert sum(model.probability(context, letter) for letter in model.alphabet) == pytest.approx(1)
