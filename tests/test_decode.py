import itertools
import math
import threading
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puji.engine import kernels, network, reference, slots, window
from puji.engine import step as step_module
from puji.engine.decode import GrammarTable, Prompt, Sampling, decode
from puji.engine.grammar import Without
from puji.engine.sampling import Sampler
from puji.engine.score import score
from puji.engine.session import Session
from puji.engine.slots import FORCED
from puji.engine.step import ROWS, Step, Weights, prepare
from puji.engine.vocabulary import SPELL, Vocabulary

END = 1


def make(vocabulary=60, context=32, sharpness=4.0, size="nano"):
    """A random network whose distributions are far from uniform."""
    settings = network.config(size, vocabulary, context=context, end=END)
    settings.tie_word_embeddings = False  # tied random weights only ever repeat themselves
    built = network.build(settings, seed=3).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4.0)
        built.model.norm.weight.mul_(sharpness)
    return built


@pytest.fixture(scope="module")
def net():
    return make()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def run(net, prompts, *, end=END, max_new_tokens=20, dtype="float32", **options):
    rows = decode(net, prompts, end=end, max_new_tokens=max_new_tokens, dtype=dtype, **options)
    return sorted(rows, key=lambda row: row.index)


def prompts(n, ids=(2, 5, 7), header=1):
    return [Prompt(ids, seed, header) for seed in range(n)]


def stock_logits(net, ids):
    with torch.no_grad():
        return net(input_ids=torch.tensor([list(ids)])).logits[0].float().numpy()


# -- the step ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["nano", "micro"])
def test_step_equals_stock_forward_at_every_position(size):
    net = make(size=size)
    ids = np.random.default_rng(0).integers(0, 60, (5, 30))
    step = Step(prepare(net, "float32"), 5)
    order = np.array([3, 0, 4, 1, 2])
    for t in range(33):
        # Row r starts r // 2 steps late, so that rows of one step stand at different positions.
        rows = np.array([r for r in order if 0 <= t - r // 2 < 30])
        if not len(rows):
            continue
        positions = t - rows // 2
        logits = step(ids[rows, positions], rows, positions)
        for row, position, mine in zip(rows, positions, logits, strict=True):
            np.testing.assert_allclose(mine, stock_logits(net, ids[row])[position], atol=1e-5 * 10, rtol=1e-5)


def test_bfloat16_is_close_to_float32(net):
    ids = np.random.default_rng(1).integers(0, 60, 30)
    step = Step(Weights(net, "bfloat16"), 1)
    stock = stock_logits(net, ids)
    half = make().to(torch.bfloat16)
    ours, theirs = [], stock_logits(half, ids)
    for t, token in enumerate(ids):
        ours.append(step(np.array([token]), np.array([0]), np.array([t]))[0].copy())
    error = np.abs(np.array(ours) - stock).mean()
    assert error < 0.1 * stock.std()
    # Keeping the residual stream and the logits in float32 is worth something.
    assert error < np.abs(theirs - stock).mean()


def test_rows_have_the_same_bits_wherever_they_stand():
    weights = prepare(make(), "float32")
    assert weights.sizes[-1] == ROWS
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 60, (ROWS, 6))
    full = Step(weights, ROWS)
    alone = {}
    for t in range(6):
        logits = full(ids[:, t], np.arange(ROWS), np.full(ROWS, t))
        for row in (0, 77, 127):
            alone[row, t] = logits[row].copy()
    for row in (0, 77, 127):
        single = Step(weights, 3)
        for t in range(6):
            mine = single(ids[[row], t], np.array([2]), np.array([t]))[0]
            assert np.array_equal(mine, alone[row, t])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled_kernels_equal_plain_torch(dtype):
    kind = torch.float32 if dtype == "float32" else torch.bfloat16
    tolerance = 2e-6 if dtype == "float32" else 0.02
    generator = torch.Generator().manual_seed(0)

    def array(*shape, kind=kind):
        return step_module.bits(torch.randn(*shape, generator=generator).to(kind))

    def value(array):
        return torch.from_numpy(array).view(kind).float() if array.dtype == np.uint16 else torch.from_numpy(array)

    def compare(name, arguments, outputs):
        mine, theirs = ([a.copy() if isinstance(a, np.ndarray) else a for a in arguments] for _ in range(2))
        getattr(kernels, name)(*mine)
        getattr(reference, name)(*theirs)
        for i in outputs:
            torch.testing.assert_close(value(mine[i]), value(theirs[i]), atol=tolerance, rtol=tolerance)

    single = torch.float32
    compare(
        "add_norm", (array(6, 40, kind=single), array(6, 40), array(40, kind=single), 1e-6, array(6, 40), 5), (0, 4)
    )
    angle = torch.rand(16, 8, generator=generator)
    compare(
        "attend",
        (
            array(4, (4 + 2 * 2) * 16),
            angle.cos().numpy(),
            angle.sin().numpy(),
            array(3, 16, 4, 16),
            np.array([2, 0, 1]),
            np.array([0, 14, 6]),
            4,
            array(4, 64),
            np.zeros((6, 16), np.float32),
        ),
        (3, 7),
    )
    compare("swiglu", (array(5, 60), array(5, 30), 4), (1,))


def test_choose_equals_plain_torch():
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(400, 90)) * 4).astype(np.float32)
    masks = rng.random((3, 90)) < [[0.5], [0.1], [0.0]]
    which = rng.integers(0, 3, 400)
    floors = np.where(rng.random(400) < 0.3, 1.0, -np.inf).astype(np.float32)
    seeds, steps = rng.integers(0, 2**63, 400).astype(np.uint64), np.arange(400, dtype=np.uint64)
    for temperature in (0.0, 0.5, 1.0, 3.0):
        results = []
        for module in (kernels, reference):
            draws, tokens, logprobs, best = np.zeros(400), np.zeros(400, np.int64), np.zeros(400), np.zeros(400)
            module.uniforms(seeds, steps, draws)
            scratch = np.zeros(180, np.float32)
            module.choose(logits, masks, which, floors, temperature, draws, scratch, tokens, logprobs, best)
            results.append((draws, tokens, logprobs, best))
        (draws, tokens, logprobs, best), (their_draws, their_tokens, their_logprobs, their_best) = results
        assert np.array_equal(draws, their_draws)
        assert np.array_equal(tokens, their_tokens)
        np.testing.assert_allclose(logprobs, their_logprobs, atol=2e-6)
        np.testing.assert_allclose(best, their_best, atol=2e-6)
        assert (best[tokens >= 0] >= logprobs[tokens >= 0] - 1e-9).all()
        assert (tokens[which == 2] == -1).all()
        kept = tokens >= 0
        assert masks[which[kept], tokens[kept]].all()
    assert abs(draws.mean() - 0.5) < 0.08


def test_draws_at_the_edges_take_tokens_that_have_probability():
    logits = np.zeros((2, 200), np.float32)
    masks = np.zeros((1, 200), np.bool_)
    masks[0, [70, 130]] = True
    for module in (kernels, reference):
        tokens, logprobs = np.zeros(2, np.int64), np.zeros(2)
        draws = np.array([0.0, 1.0 - 2.0**-53])
        floors = np.full(2, -np.inf, np.float32)
        scratch, best = np.zeros(400, np.float32), np.zeros(2)
        module.choose(logits, masks, np.zeros(2, np.int64), floors, 1.0, draws, scratch, tokens, logprobs, best)
        assert tokens.tolist() == [70, 130]


def test_weights_are_prepared_once_and_again_after_training(net):
    assert prepare(net, "float32") is prepare(net, "float32")
    changed = make()
    before = prepare(changed, "float32")
    with torch.no_grad():
        changed.model.norm.weight.mul_(1.01)
    assert prepare(changed, "float32") is not before


def test_unknown_architecture_is_refused():
    settings = network.config("nano", 20, context=16)
    settings.attention_bias = True
    with pytest.raises(ValueError, match="without biases"):
        Weights(network.build(settings, seed=0), "float32")


# -- the distribution --------------------------------------------------------------------------------------------------


def test_greedy_equals_stock_generate(net):
    for ids in ((2,), (2, 9, 30), (4, 4, 4, 4), (50, 3)):
        stock = net.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=25,
            do_sample=False,
            eos_token_id=END,
            suppress_tokens=[0],
        )
        (row,) = run(net, [Prompt(ids, 0, 0)], max_new_tokens=25, sampling=Sampling(temperature=0))
        assert row.ids == stock[0, len(ids) :].tolist()
        assert len(set(row.ids)) > 1


def frequencies(net, n=6000, **options):
    rows = run(net, prompts(n), max_new_tokens=1, **options)
    return np.bincount([row.ids[0] for row in rows], minlength=60)


def chi_square(counts, probabilities):
    """Standard deviations by which Pearson's statistic passes its mean, over classes expected at least 5 times."""
    expected = probabilities * counts.sum()
    often = expected >= 5
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(expected[often], max(expected[~often].sum(), 1e-9))
    statistic = ((observed - expected) ** 2 / expected)[expected > 1e-6].sum()
    freedom = (expected > 1e-6).sum() - 1
    return (statistic - freedom) / math.sqrt(2 * freedom)


def softmax(logits):
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def test_samples_follow_the_softmax_of_the_model():
    net = make(sharpness=3.0)
    logits = stock_logits(net, (2, 5, 7))[-1].astype(float)
    logits[0] = -np.inf
    probabilities = softmax(logits)
    counts = frequencies(net)
    assert counts[0] == 0
    assert chi_square(counts, probabilities) < 4
    # The test has power: another temperature fails it.
    assert chi_square(counts, softmax(logits / 1.3)) > 10
    assert chi_square(frequencies(net, sampling=Sampling(temperature=1.3)), softmax(logits / 1.3)) < 4


def test_nothing_is_cut_from_the_distribution():
    flat = make(vocabulary=400, sharpness=0.0)
    counts = Counter(row.ids[0] for row in run(flat, prompts(4000), max_new_tokens=1))
    assert set(counts) == set(range(1, 400))


def test_top_k_and_top_p_keep_what_they_say(net):
    logits = stock_logits(net, (2, 5, 7))[-1].astype(float)
    logits[0] = -np.inf
    order = np.argsort(-logits)
    counts = frequencies(net, n=2000, sampling=Sampling(top_k=4))
    assert set(np.flatnonzero(counts)) <= set(order[:4])
    kept = np.full(60, -np.inf)
    kept[order[:4]] = logits[order[:4]]
    assert chi_square(counts, softmax(kept)) < 4
    flat = np.cumsum(softmax(logits / 2)[order])
    size = int((flat < 0.8).sum()) + 1
    counts = frequencies(net, n=2000, sampling=Sampling(temperature=2.0, top_p=0.8))
    assert set(np.flatnonzero(counts)) == set(order[:size])


@pytest.mark.parametrize(
    "bad", [{"temperature": -1}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}]
)
def test_sampling_out_of_range_is_refused(bad):
    with pytest.raises(ValueError):
        Sampling(**bad)


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_depends_on_its_seed_alone(net, dtype, two_threads):
    rng = np.random.default_rng(0)
    many = [
        Prompt(tuple(rng.integers(2, 60, rng.integers(1, 24)).tolist()), int(rng.integers(-(2**63), 2**63)), 1)
        for _ in range(160)
    ]
    together = run(net, many, dtype=dtype)
    assert [row.index for row in together] == list(range(160))
    assert len({row.ended for row in together}) == 2
    for index in (0, 140, 159):
        (alone,) = run(net, [many[index]], dtype=dtype)
        assert (alone.ids, alone.logprob) == (together[index].ids, together[index].logprob)
    torch.set_num_threads(1)
    for row, other in zip(run(net, many[::-1], dtype=dtype)[::-1], together, strict=True):
        assert (row.ids, row.logprob, row.ended) == (other.ids, other.logprob, other.ended)
    assert torch.get_num_threads() == 1


def test_equal_prompts_are_fed_once_and_change_no_sample(net, monkeypatch, two_threads):
    torch.set_num_threads(1)  # each thread would feed them once
    draw = np.random.default_rng(5)
    pool = [tuple(draw.integers(2, 50, length).tolist()) for length in draw.integers(1, 20, 40)]
    mixed = [Prompt(pool[int(draw.integers(len(pool)))], seed, 1) for seed in range(120)]
    alone = {i: run(net, [prompt])[0] for i, prompt in enumerate(mixed)}
    for row in run(net, mixed):
        assert (row.ids, row.logprob) == (alone[row.index].ids, alone[row.index].logprob)
    fed = []
    whole = Step.__call__
    monkeypatch.setattr(Step, "__call__", lambda self, ids, *more: fed.append(len(ids)) or whole(self, ids, *more))
    rows = list(run(net, prompts(100, ids=tuple(range(2, 18))), max_new_tokens=10))
    assert sum(fed) == 15 + sum(len(row.ids) for row in rows)


def test_plain_torch_decodes_the_same(net, monkeypatch):
    mine = run(net, prompts(6), max_new_tokens=40)
    for module in ("puji.engine.step.kernels", "puji.engine.sampling.kernels"):
        monkeypatch.setattr(module, reference)
    theirs = run(net, prompts(6), max_new_tokens=40)
    assert [row.ids for row in mine] == [row.ids for row in theirs]


@pytest.mark.parametrize("threads", [1, 2])
def test_endless_prompts_are_taken_as_needed_and_stopping_stops(net, threads, two_threads):
    torch.set_num_threads(threads)
    taken = itertools.count()
    rows = decode(net, (Prompt((2,), next(taken), 0) for _ in itertools.repeat(0)), end=END, max_new_tokens=5)
    assert len(list(itertools.islice(rows, 700))) == 700
    rows.close()
    assert next(taken) < 700 + 10 * threads * ROWS
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("puji")]


def test_thread_settings_are_kept(net, two_threads):
    inside = []
    run(net, prompts(100), stop=lambda *_: bool(inside.append(torch.get_num_threads())))
    assert torch.get_num_threads() == 2
    assert set(inside) == {1}
    inside.clear()
    thread = threading.Thread(target=lambda: inside.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert inside == [2]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_the_prompts_reaches_the_caller(net, threads, two_threads):
    torch.set_num_threads(threads)

    def broken():
        yield from prompts(600)
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        list(decode(net, broken(), end=END, max_new_tokens=5))


def test_rows_end_for_the_reason_they_say(net):
    rows = run(net, prompts(200), max_new_tokens=12)
    for row in rows:
        assert row.ended == ("end" if row.ids[-1] == END else "length")
        assert END not in row.ids[:-1]
        assert len(row.ids) == 12 or row.ended == "end"
    seen = [[] for _ in range(20)]

    def third(row, token):
        seen[row].append(token)
        return len(seen[row]) == 3

    stopped = run(net, prompts(20), end=0, stop=third)
    assert {(len(row.ids), row.ended) for row in stopped} == {(3, "stop")}
    assert all(row.ids == seen[row.index] for row in stopped)


def test_no_prompts_no_rows(net):
    assert run(net, []) == []


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (Prompt((), 0, 0), {}),
        (Prompt((60,), 0, 0), {}),
        (Prompt((-1,), 0, 0), {}),
        (Prompt((2,), 0, 2), {}),
        (Prompt(tuple([2] * 40), 0, 32), {}),
        (Prompt((2,), 0, 0), {"max_new_tokens": 0}),
        (Prompt((2,), 0, 0), {"end": 60}),
        (Prompt((2,), 0, 0), {"dtype": "float16"}),
    ],
)
def test_what_is_out_of_range_is_refused(net, prompt, options):
    with pytest.raises(ValueError):
        run(net, [prompt], **options)


def test_padding_is_never_drawn():
    flat = make(sharpness=0.0)
    drawn = {token for row in run(flat, prompts(300)) for token in row.ids}
    assert drawn == set(range(1, 60))


def test_logprob_is_the_score_of_the_row(net):
    rows = run(net, prompts(30), max_new_tokens=20, sampling=Sampling(temperature=1.5, top_k=20))
    scores = score(net, [((2, 5, 7), row.ids) for row in rows])
    np.testing.assert_allclose([row.logprob for row in rows], scores, atol=1e-3)


# -- longer than the context -------------------------------------------------------------------------------------------


def test_visible_keeps_the_header_and_the_latest():
    ids = list(range(100))
    assert window.visible(ids[:32], 4, 32) == ids[:32]
    assert window.visible(ids[:33], 4, 32) == [0, 1, 2, 3, *range(19, 33)]
    for length in range(1, 100):
        seen = window.visible(ids[:length], 4, 32)
        assert len(seen) <= 32 and seen[:4] == ids[: min(4, length)] and seen[-1] == length - 1
        # Sliding token by token ends at the same place.
        assert window.visible([*window.visible(ids[: length - 1], 4, 32), length - 1], 4, 32) == seen


@pytest.mark.parametrize("header", [0, 5, 31])
def test_sliding_window_equals_stock_forward_of_what_is_in_view(net, header):
    ids = tuple(np.random.default_rng(3).integers(2, 60, 31).tolist())
    (row,) = run(net, [Prompt(ids, 0, header)], end=0, max_new_tokens=70, sampling=Sampling(temperature=0))
    expected, total = [], 0.0
    for _ in range(70):
        logits = stock_logits(net, window.visible([*ids, *expected], header, 32))[-1].astype(float)
        token = int(logits[1:].argmax()) + 1
        total += logits[token] - logits.max() - math.log(np.exp(logits - logits.max()).sum())
        expected.append(token)
    assert row.ids == expected
    assert row.logprob == pytest.approx(total, abs=1e-2)
    assert score(net, [(ids, expected)], headers=[header])[0] == pytest.approx(total, abs=1e-2)


def test_prompt_longer_than_the_context(net):
    ids = tuple(np.random.default_rng(4).integers(2, 60, 90).tolist())
    (row,) = run(net, [Prompt(ids, 0, 6)], max_new_tokens=1, sampling=Sampling(temperature=0))
    assert row.ids[0] == int(stock_logits(net, window.visible(ids, 6, 32))[-1][1:].argmax()) + 1


# -- grammar -----------------------------------------------------------------------------------------------------------


class Words:
    """Sentences of words over "a", "b" and spelled names; each word at most once, then "." """

    def __init__(self, words, end="."):
        self.words = tuple(words)
        self.end = end

    def start(self, prompt):
        return frozenset(prompt) & frozenset(self.words)

    def allowed(self, state):
        left = [word for word in self.words if word not in state]
        return [*left, self.end] if state else left

    def advance(self, state, token):
        if token not in self.allowed(state):
            raise AssertionError(f"{token!r} was never offered")
        return state | {token}


VOCABULARY = Vocabulary([".", "<s>", "a", "b", "no"])


def allowed(table, state):
    """The ids that may come after ``state``, (1,)."""
    ids = np.flatnonzero(table.masks[table.which(state)][0])
    assert VOCABULARY.pad not in ids
    return ids


def test_every_row_keeps_to_the_grammar():
    flat = make(vocabulary=len(VOCABULARY), sharpness=1.0, context=64)
    table = GrammarTable(Words(["a", "b", "na", "nano", "ä"]), VOCABULARY)
    start = VOCABULARY.ids["<s>"]
    rows = run(flat, [Prompt((start,), i, 1) for i in range(300)], grammar=table, max_new_tokens=60)
    sentences = Counter()
    for row in rows:
        tokens = VOCABULARY.decode(row.ids)
        assert row.ended == "end" and tokens[-1] == "." and len(set(tokens)) == len(tokens)
        assert set(tokens[:-1]) <= {"a", "b", "na", "nano", "ä"}
        assert VOCABULARY.encode(tokens) == row.ids
        sentences.update(tokens)
    assert set(sentences) == {"a", "b", "na", "nano", "ä", "."}


def test_a_prompt_that_ends_in_a_spelled_token_is_separated_from_the_next():
    table = GrammarTable(Words(["na", "x"]), VOCABULARY)
    ids = VOCABULARY.encode(["<s>", "x"])
    state = table.start(ids)
    assert set(allowed(table, np.array([state]))) == {VOCABULARY.ids["."], VOCABULARY.ids[SPELL]}


class Once(Words):
    """As `Words`, but spelled words may come again."""

    def allowed(self, state):
        whole = frozenset({*self.words, self.end})
        return Without(whole, state - {"na"}) if state else frozenset(self.words)


class Rest(Once):
    """The same, as plain sets."""

    def allowed(self, state):
        return frozenset(super().allowed(state))


def test_a_set_without_some_is_as_the_set_of_the_rest():
    tables = [GrammarTable(kind(["a", "b", "na"]), VOCABULARY) for kind in (Once, Rest)]
    for words in itertools.product(["a", "b", "na"], repeat=3):
        if len(set(words) - {"na"}) < len(words) - words.count("na"):
            continue
        body = VOCABULARY.encode([*words, "."])
        first, second = (table.along((VOCABULARY.ids["<s>"],), body) for table in tables)
        assert np.array_equal(first, second)
        assert first[np.arange(len(body)), body].all()
        assert not first[-1, [VOCABULARY.ids[word] for word in words if word != "na"]].any()
        states = [np.array([table.start((VOCABULARY.ids["<s>"],))]) for table in tables]
        for place, index in enumerate(body):
            for table, state in zip(tables, states, strict=True):
                assert np.array_equal(table.masks[table.which(state)[0]], first[place])
            if place + 1 < len(body):
                states = [table.advance(state, np.array([index])) for table, state in zip(tables, states, strict=True)]


def test_what_is_allowed_along_a_text_of_more_sets_than_the_table_holds_at_first():
    words = [f"w{number}" for number in range(100)]
    vocabulary = Vocabulary([".", "<s>", *words])
    body = vocabulary.encode([*words, "."])
    found = GrammarTable(Rest(words), vocabulary).along((vocabulary.ids["<s>"],), body)
    again = GrammarTable(Rest(words), vocabulary, limit=5).along((vocabulary.ids["<s>"],), body)
    assert np.array_equal(found, again) and found.sum(1).tolist() == [100, *range(100, 0, -1)]


def test_what_is_allowed_along_a_text_that_breaks_the_grammar():
    class Patient(Rest):
        def advance(self, state, token):
            return state | {token}

    table = GrammarTable(Patient(["a", "b"]), VOCABULARY)
    a, b, no, end = (VOCABULARY.ids[word] for word in ("a", "b", "no", "."))
    found = table.along((VOCABULARY.ids["<s>"],), [a, no, a, b, end])
    assert set(np.flatnonzero(found[0])) == {a, b}
    assert set(np.flatnonzero(found[1])) == {b, no, end}, "what stands there is allowed, too"
    assert set(np.flatnonzero(found[2])) == {a, b, end}


def test_a_dead_end_is_reported():
    class Trap(Words):
        def allowed(self, state):
            return [] if "b" in state else super().allowed(state)

    flat = make(vocabulary=len(VOCABULARY), sharpness=0.0)
    rows = run(flat, prompts(100, (2,)), grammar=GrammarTable(Trap(["a", "b"]), VOCABULARY))
    for row in rows:
        assert (row.ended == "dead") == (VOCABULARY.ids["b"] in row.ids)
        assert row.ids[-1] == (VOCABULARY.ids["b"] if row.ended == "dead" else END)
    assert {row.ended for row in rows} == {"dead", "end"}
    assert {row.ended for row in run(flat, [Prompt((5,), 0, 0)], grammar=GrammarTable(Words([]), VOCABULARY))} == {
        "dead"
    }


def test_rare_tokens_are_drawn_under_a_grammar_and_hopeless_rows_end():
    # Half of the probability lies on tokens that are each rarer than e**-12; the grammar allows them all, or they alone.
    size = 400_000
    logits = np.zeros((1, size), np.float32)
    logits[0, 0] = math.log(size - 1)
    rare = np.ones((1, size), np.bool_)
    rare[0, 0] = False
    for mask, dead in ((np.ones((1, size), np.bool_), False), (rare, True)):
        tokens, logprobs, best = Sampler(size, Sampling()).draw(
            np.repeat(logits, 50, 0),
            mask,
            np.zeros(50, np.int64),
            np.arange(50, dtype=np.uint64),
            np.zeros(50, np.uint64),
        )
        assert (logprobs[tokens > 0] < FORCED).all() and (tokens > 0).sum() > 10
        assert ((best < FORCED) == dead).all()


@pytest.mark.parametrize(("words", "told"), [(["no"], ["a", "no", "."]), (["no", "b"], ["a"])])
def test_what_alone_may_follow_follows_however_rare(words, told, monkeypatch):
    monkeypatch.setattr(slots, "FORCED", 0.0)  # nothing is likely enough, so each choice of several ends a row

    class Then(Words):
        def allowed(self, state):
            return ["a"] if not state else words if state == {"a"} else ["."]

    flat = make(vocabulary=len(VOCABULARY), sharpness=1.0, context=64)
    rows = run(flat, prompts(20, (2,)), grammar=GrammarTable(Then(["a", *words]), VOCABULARY))
    assert all(VOCABULARY.decode(row.ids)[: len(told)] == told for row in rows)
    assert {row.ended for row in rows} == {"end" if told[-1] == "." else "dead"}


def test_a_full_table_starts_anew_and_changes_nothing():
    flat = make(vocabulary=len(VOCABULARY), sharpness=1.0, context=64)
    words = [f"w{i}" for i in range(30)]
    options = {"max_new_tokens": 50, "sampling": Sampling()}
    rows = run(flat, prompts(60, (2,)), grammar=GrammarTable(Words(words), VOCABULARY, limit=70), **options)
    free = run(flat, prompts(60, (2,)), grammar=GrammarTable(Words(words), VOCABULARY), **options)
    assert [row.ids for row in rows] == [row.ids for row in free]


def test_grammar_refuses_an_id_it_did_not_allow():
    table = GrammarTable(Words(["a"]), VOCABULARY)
    with pytest.raises(ValueError, match="not allowed"):
        table.advance(np.array([table.start([])]), np.array([VOCABULARY.ids["b"]]))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text("abnoü<", min_size=1, max_size=4), min_size=1, max_size=5, unique=True),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=60),
)
def test_any_walk_through_the_masks_encodes_what_the_grammar_allows(words, choices):
    table = GrammarTable(Words(words), VOCABULARY)
    state, ids = np.array([table.start([])]), []
    for choice in choices:
        options = allowed(table, state)
        if not len(options):
            assert not ids
            return
        ids.append(int(options[choice % len(options)]))
        if ids[-1] == VOCABULARY.ids["."]:
            tokens = VOCABULARY.decode(ids)
            assert set(tokens[:-1]) <= set(words)
            assert VOCABULARY.encode(tokens) == ids
            return
        state = table.advance(state, np.array([ids[-1]]))


# -- session -----------------------------------------------------------------------------------------------------------


class Free:
    """Any texts that have no token, each ended by ".", at most three."""

    def start(self, prompt):
        return 0

    def allowed(self, state):
        return [["ANY"], ["."]][state % 2] if state < 6 else []

    def advance(self, state, token):
        assert (token == ".") == bool(state % 2)
        assert token == "." or (token not in VOCABULARY and token)
        return state + 1


def walk(table, ids):
    state = np.array([table.start([VOCABULARY.ids["<s>"]])])
    for index in ids:
        assert index in allowed(table, state)
        state = table.advance(state, np.array([index]))


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=6), min_size=1, max_size=3)
)
@settings(max_examples=60, deadline=None)
def test_any_text_without_a_token_may_be_spelled(texts):
    ids = VOCABULARY.encode([part for text in texts for part in (text, ".")])
    table = GrammarTable(Free(), VOCABULARY, anything="ANY")
    if any(text in VOCABULARY for text in texts):
        with pytest.raises(AssertionError):
            walk(table, ids)
    else:
        walk(table, ids)


@given(st.lists(st.integers(0, 2**30), min_size=5, max_size=60))
@settings(max_examples=60, deadline=None)
def test_what_is_spelled_freely_is_text(choices):
    table = GrammarTable(Free(), VOCABULARY, anything="ANY")
    state, ids = np.array([table.start([VOCABULARY.ids["<s>"]])]), []
    for choice in choices:
        options = allowed(table, state)
        if not len(options):
            break
        ids.append(int(options[choice % len(options)]))
        state = table.advance(state, np.array([ids[-1]]))
    while ids and ids[-1] != VOCABULARY.ids["."]:
        ids.pop()
    for text in VOCABULARY.decode(ids)[::2]:
        assert "\ufffd" not in text or "\ufffd".encode() in bytes(
            i - VOCABULARY.first_byte for i in ids if i >= VOCABULARY.first_byte
        )
    assert VOCABULARY.decode(ids)[1::2] == ["."] * ids.count(VOCABULARY.ids["."])


def log_softmax(logits):
    logits = logits.astype(float)
    return logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())


@pytest.mark.parametrize("pieces", [1, 7, 50])
def test_session_equals_stock_forward(net, pieces):
    ids = np.random.default_rng(5).integers(2, 60, 80).tolist()
    session = Session(net, ids[:3], dtype="float32")
    fed = 3
    while fed < len(ids):
        session.feed(ids[fed : fed + pieces])
        fed = min(fed + pieces, len(ids))
        expected = stock_logits(net, window.visible(ids[:fed], 3, 32))[-1]
        np.testing.assert_allclose(session.next_logprobs(), log_softmax(expected), atol=2e-4)
    assert session.length == 80


def test_forks_are_independent(net):
    session = Session(net, [2, 3], dtype="float32")
    session.feed([10, 11, 12])
    before = session.next_logprobs()
    fork = session.fork()
    assert np.array_equal(fork.next_logprobs(), before)
    fork.feed([20] * 40)
    assert np.array_equal(session.next_logprobs(), before)
    session.feed([21])
    twin = Session(net, [2, 3, 10, 11, 12, 21], dtype="float32")
    np.testing.assert_allclose(session.next_logprobs(), twin.next_logprobs(), atol=1e-4)


def test_session_samples_by_seed(net):
    session = Session(net, [2, 3], dtype="float32")
    drawn = [session.sample(seed) for seed in range(2000)]
    assert drawn == [session.sample(seed) for seed in range(2000)]
    probabilities = np.exp(session.next_logprobs())
    probabilities[0] = 0
    assert chi_square(np.bincount(drawn, minlength=60), probabilities / probabilities.sum()) < 4
    assert session.sample(0, Sampling(temperature=0)) == int(probabilities.argmax())
    only = np.zeros(60, bool)
    only[7] = True
    assert session.sample(0, allowed=only) == 7
    with pytest.raises(ValueError, match="no token"):
        session.sample(0, allowed=np.zeros(60, bool))


def test_session_refuses_what_it_cannot_do(net):
    with pytest.raises(ValueError, match="nothing was fed"):
        Session(net).next_logprobs()
    session = Session(net, [2])
    with pytest.raises(ValueError, match="vocabulary"):
        session.feed([3, 60])
    assert session.length == 1
    with pytest.raises(ValueError, match="no room"):
        Session(net, [2] * 32)


def test_sampler_keeps_rows_apart():
    logits = np.zeros((2, 10), np.float32)
    masks = np.eye(10, dtype=bool)
    sampler = Sampler(10, Sampling(top_p=0.5, top_k=3))
    tokens, logprobs, _ = sampler.draw(
        logits, masks, np.array([4, 9]), np.array([1, 2], np.uint64), np.array([0, 0], np.uint64)
    )
    assert tokens.tolist() == [4, 9]
    np.testing.assert_allclose(logprobs, -math.log(10))
