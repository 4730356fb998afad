"""Images as sequences: codes, augmentation, views, grammar, readings; and how good generated ones are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from puji.errors import Invalid
from puji.modalities.images import assess, judge, phantoms, predict, views
from puji.modalities.images import metrics as figures
from puji.modalities.images.augment import Augmentation, shifted
from puji.modalities.images.codebook import Codebook, cut
from puji.modalities.images.conditions import Setup, region_of
from puji.modalities.images.modality import Images
from puji.modalities.images.predict import Reading
from puji.modalities.images.tokens import AROUND, HOLE, IMAGE, Labels, code_of, patch_token
from puji.modality import END, Raw
from tests.images_cases import chests, stacked

# -- codes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", [2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_come_row_by_row_and_back(patch, channels):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 28, 28, channels), dtype=np.uint8)
    patches = cut(images, patch)
    assert (patches[0, 1].reshape(patch, patch, channels) == images[0, :patch, patch : 2 * patch]).all()
    side = 28 // patch
    assert (patches[2, side].reshape(patch, patch, channels) == images[2, patch : 2 * patch, :patch]).all()
    whole = Codebook(patch, 28, channels, np.unique(patches.reshape(-1, patches.shape[-1]), axis=0))
    assert (whole.decode(whole.encode(images)) == images).all()


@given(arrays(np.uint8, (2, 8, 8, 1)))
def test_the_nearest_code_is_chosen_and_decoding_is_stable(images):
    book = Codebook.learn(stacked(chests(4, size=8)), 4, 6)
    codes = book.encode(images)
    flat = cut(images, 4)[:, :, None, :].astype(int)
    distances = ((flat - book.centres.astype(int)) ** 2).sum(-1)
    assert (np.take_along_axis(distances, codes[:, :, None], 2)[:, :, 0] == distances.min(-1)).all()
    assert (book.encode(book.decode(codes)) == codes).all()


def test_more_codes_tell_images_better_and_all_are_used():
    images = stacked(chests(40))
    errors = []
    for codes in (8, 32, 128):
        book = Codebook.learn(images, 4, codes)
        assert 0.9 * codes <= book.codes <= codes
        used = np.unique(book.encode(images))
        assert len(used) > 0.9 * book.codes
        errors.append(((book.decode(book.encode(images)).astype(float) - images) ** 2).mean())
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_codebooks_come_back_from_their_state():
    modality = Images()
    modality.set_up(Setup(size=64, patch=4, codes=32, colour=True))
    modality.learn([phantoms.lesion(np.random.default_rng(0), 64, dark=bool(n % 2)) for n in range(12)])
    other = Images()
    other.restore(modality.state())
    record = phantoms.lesion(np.random.default_rng(9), 64)
    assert other.encode(record) == modality.encode(record)
    assert other.tokens() == modality.tokens() and other.context == modality.context
    assert other.chosen == modality.chosen and other.usual is modality.usual is None  # nothing was held out yet
    assert modality.encode(record).count(IMAGE) == 1 and len(modality.encode(record)) == 16 * 16 + 2


@pytest.mark.parametrize(
    "fields", [{"size": 30}, {"patch": 3}, {"codes": 3}, {"codes": 99999}], ids=lambda fields: next(iter(fields))
)
def test_a_setup_that_cannot_be_names_its_option(fields):
    with pytest.raises(Invalid) as refusal:
        Setup(**fields)
    assert refusal.value.source == f"--{next(iter(fields))}"


# -- changes and views -----------------------------------------------------------------------------------------------------


def test_images_are_moved_by_whole_pixels():
    image = np.arange(25, dtype=np.uint8).reshape(5, 5, 1)
    assert (shifted(image, 1, 0)[:, 1:] == image[:, :-1]).all() and (shifted(image, 1, 0)[:, 0] == image[:, 0]).all()
    assert (shifted(image, 0, -2)[:3] == image[2:]).all()
    assert (shifted(image, 0, 0) == image).all()


def test_changes_are_small_and_depend_on_the_generator_alone():
    image = chests(1)[0].array
    change = Augmentation(share=1.0)
    first = change(image, np.random.default_rng(1))
    assert (first == change(image, np.random.default_rng(1))).all()
    assert (first != change(image, np.random.default_rng(2))).any()
    likeness = [np.corrcoef(image.ravel(), change(image, np.random.default_rng(n)).ravel())[0, 1] for n in range(30)]
    assert min(likeness) > 0.4 and np.mean(likeness) > 0.75
    still = Augmentation(0, 0, 0, 0, 0, 0, 0, share=1.0)
    assert (still(image, np.random.default_rng(0)) == image).all()


def test_turning_about_the_middle_keeps_the_middle():
    image = np.zeros((29, 29, 1), np.uint8)
    image[13:16, 13:16] = 255
    turned = Augmentation(0, 45, 0.05, 0, 0, 0, 0, share=1.0)(image, np.random.default_rng(0)).astype(float)
    y, x = np.mgrid[:29, :29]
    centre = [(turned[:, :, 0] * axis).sum() / turned.sum() for axis in (y, x)]
    assert np.allclose(centre, 14, atol=0.5)


def test_a_chest_is_not_mirrored_unless_asked():
    image = np.tile(np.linspace(0, 255, 28).astype(np.uint8)[:, None], (28, 1, 1))
    plain, mirror = (Augmentation(mirror=mirror) for mirror in (False, True))
    rising = [
        [np.mean(np.diff(change(image, np.random.default_rng(n))[:, :, 0].astype(int), axis=1)) > 0 for n in range(40)]
        for change in (plain, mirror)
    ]
    assert all(rising[0]) and 8 < sum(rising[1]) < 32


def test_views_ask_tell_and_fill():
    modality = Images()
    records = chests(6)
    modality.learn(records)
    kinds = Counter()
    for epoch in range(300):
        (view,) = modality.views(records[1], np.random.default_rng(epoch))
        tokens, weights = list(view.tokens), list(view.weights)
        body = tokens[tokens.index(IMAGE) + 1 : tokens.index(END)]
        assert len(body) == 49
        if tokens[-1] == "<is:opacity>":
            kinds["behind"] += 1
            assert weights[-1] == views.WEIGHT
            if HOLE in tokens:
                assert not any(weights[:-1])
        elif AROUND in tokens:
            kinds["filling"] += 1
            around = tokens[tokens.index(AROUND) + 1 : tokens.index(IMAGE)]
            learned = weights[tokens.index(IMAGE) + 1 : -1]
            for shown, true, weight in zip(around, body, learned, strict=True):
                assert (shown == HOLE and weight == 1) or (shown == true and weight == 0)
        else:
            kinds["front"] += 1
            assert tokens[0] == "<is:opacity>" and weights[0] == 0
    assert kinds["behind"] > 120 and kinds["front"] > 80 and 10 < kinds["filling"] < 60


def test_several_labels_are_answered_one_by_one():
    labels = Labels.learn([("a",), ("a", "b"), (), None])
    assert not labels.exclusive and labels.questions() == [("<not:a>", "<is:a>"), ("<not:b>", "<is:b>")]
    assert labels.answers(("b",)) == ["<not:a>", "<is:b>"]
    assert (
        labels.front(("b", "a")) == ["<is:a>", "<is:b>"]
        and labels.front(()) == ["<nothing>"]
        and labels.front(None) == []
    )
    for told in ((), ("a",), ("a", "b")):
        assert labels.named([*labels.front(told), IMAGE]) == told
    assert labels.named([IMAGE]) is None
    assert Labels.restored(labels.state()) == labels
    one = Labels.learn([("a",), ("b c",), ("a",)])
    assert one.exclusive and one.questions() == [("<is:a>", "<is:b_c>")]
    assert Labels.learn([("a",)]).questions() == []
    assert one.known(("a",)) == ("a",) and one.known(("a", "b c")) is None and one.known(("x",)) is None
    assert labels.known(()) == () and labels.known(None) is None


@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_hidden_rectangles_are_rectangles(side, seed):
    hidden = views.rectangle(side, np.random.default_rng(seed)).reshape(side, side)
    rows, columns = hidden.any(1), hidden.any(0)
    assert hidden.sum() == rows.sum() * columns.sum() > 0
    assert (np.diff(np.flatnonzero(rows)) == 1).all() and (np.diff(np.flatnonzero(columns)) == 1).all()


def test_regions():
    hidden = views.region(4, region_of("0.5,0,1,0.25")).reshape(4, 4)
    assert hidden[0].tolist() == [False, False, True, True] and not hidden[1:].any()
    assert views.region(7, (0, 0, 1, 1)).all()
    for wrong in ("1,2,3", "a,b,c,d", "0.5,0,0.4,1", "0,0,2,1", "nan,0,1,1"):
        with pytest.raises(Invalid):
            region_of(wrong)


# -- readings --------------------------------------------------------------------------------------------------------------


def readings(n=400, seed=0, behind=1.0, before=1.0):
    """Readings of a two-label question: the truth is worth ``behind`` and ``before`` nats in either; noise of one nat."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    signal = np.where(truth == 1, 1.0, -1.0)

    def one(worth):
        log_odds = worth * signal[:, None] + rng.standard_normal((n, len(predict.MOVES)))
        return np.stack([np.zeros_like(log_odds), log_odds], -1)

    return one(behind), one(before), truth


def test_weights_of_a_reading_are_those_that_noise_deserves():
    behind, before, truth = readings(4000, behind=0.8, before=0.0)
    labels = Labels(("no", "yes"))
    reading = predict.calibrated(labels, [behind], [before], [truth])
    # The mean of nine independent looks at a signal s with noise 1 has log odds 2 * 9 * s a look: weight 18 * .8 > the greatest.
    assert reading.moves == 9 and reading.behind == predict.BEHIND[-1] and reading.before == 0
    alone = predict.calibrated(labels, [behind[:, :1]], [before[:, :1]], [truth])
    assert alone.moves == 1 and abs(alone.behind - 1.6) < 0.35
    p = alone.probabilities(behind[:, :1], before[:, :1])
    assert assess.calibration_error(p.max(1), p.argmax(1) == truth) < 0.03


def test_bayes_is_used_where_it_helps():
    behind, before, truth = readings(2000, behind=0.5, before=1.0)
    reading = predict.calibrated(Labels(("no", "yes")), [behind[:, :1]], [before[:, :1]], [truth])
    assert reading.before > 0 and reading.behind > 0
    assert reading.state() == Reading(**reading.state()).state()


def test_few_held_out_images_choose_nothing():
    behind, before, truth = readings(10)
    assert predict.calibrated(Labels(("no", "yes")), [behind], [before], [truth]) == Reading(n=10)


def test_the_threshold_is_where_sensitivity_and_specificity_are_highest():
    values = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.9])
    truth = np.array([0, 0, 0, 1, 1, 1], bool)
    assert 0.3 < predict.youden(values, truth) < 0.6
    assert predict.youden(values, truth | True) is None
    noisy = np.array([0, 1, 0, 0, 1, 1], bool)
    cut = predict.youden(values, noisy)
    best = max(((values >= at)[noisy].mean() + (values < at)[~noisy].mean()) for at in np.linspace(0, 1, 101))
    assert (values >= cut)[noisy].mean() + (values < cut)[~noisy].mean() == best


def test_an_unsure_answer_is_none():
    labels, reading = Labels(("no", "yes")), Reading(thresholds={"yes": 0.3})
    both = (np.log(np.array([[0.55, 0.45]])), np.zeros((1, 2)))
    assert predict.estimates(labels, reading, [both], sure=0.6) == {}
    found = predict.estimates(labels, reading, [both], sure=0.5)
    assert found["yes"].value == pytest.approx(0.45) and "0.30" in found["yes"].about
    assert found["no"].about is None


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 9, 60), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert assess.auroc(scores, positive) == pytest.approx(np.mean(pairs))


# -- bodies ----------------------------------------------------------------------------------------------------------------


def test_wrong_bodies_are_refused():
    modality = Images()
    tokens = modality.encode(chests(1)[0])
    for wrong in (
        tokens[:-3],
        [*tokens[:5], "<hole>", *tokens[6:]],
        [IMAGE, END],
        [*tokens[:5], "<p999>", *tokens[6:]],
    ):
        with pytest.raises(Invalid):
            modality.postprocess(wrong)
    assert [code_of(token) for token in ("<p017>", "<p1024>", "<pad>", "p017")] == [17, 1024, None, None]
    assert patch_token(17) == "<p017>"


# -- how good generated images are -----------------------------------------------------------------------------------------


def test_copies_noise_and_means_look_bad_somewhere():
    names = ["clear", "opacity"]
    train, test, other = (figures.pictures(chests(n, seed), 28, 1, names) for n, seed in ((120, 1), (60, 2), (60, 3)))
    rng = np.random.default_rng(0)
    classes = [train.images[train.labels == label].mean(0) for label in (0, 1)]
    noisy = np.stack([classes[label] for label in other.labels]) + 20 * rng.standard_normal(other.images.shape)
    sets = {
        "real": other,
        "copies": figures.Pictures(train.images[:60], train.labels[:60]),
        "means": figures.Pictures(noisy.clip(0, 255).astype(np.uint8), other.labels),
        "noise": figures.Pictures(rng.integers(0, 256, other.images.shape, dtype=np.uint8), other.labels),
    }
    found = {name: figures.compared(one, train, test, names=names, number=1, steps=40) for name, one in sets.items()}
    distance = {name: one["Frechet distance"].value for name, one in found.items()}
    assert distance["real"] < distance["means"] and distance["real"] < distance["noise"]
    assert found["copies"]["near copies"].value == 1 and found["real"]["near copies"].value < 0.2
    assert found["real"]["distance ratio"].value == pytest.approx(1, abs=0.15)
    assert found["real"]["TSTR AUC"].value > 0.8 > found["noise"]["TSTR AUC"].value
    with pytest.raises(Invalid):
        figures.compared(sets["real"], figures.Pictures(train.images[:3], train.labels[:3]), test, names=names)


def test_frechet_distance_of_normals_is_its_formula():
    rng = np.random.default_rng(0)
    one = rng.standard_normal((4000, 3))
    assert judge.frechet(one, one) == pytest.approx(0, abs=1e-6)
    assert judge.frechet(one, one + np.array([3, 0, 4])) == pytest.approx(25)
    # tr(I + 4 I - 2 * 2 I) = 3, for d = 3
    assert judge.frechet(one, 2 * one) == pytest.approx(
        np.trace(np.cov(one.T)) + 4 * (one.mean(0) ** 2).sum() * 0.25, rel=0.05
    )


def test_the_modality_reads_raw_samples_for_its_benchmark():
    modality = Images()
    raws = [Raw(one) for one in chests(40, 1)]
    found = modality.metrics(raws[:20], {"train": raws})
    assert found["near copies"].value == 1
    with pytest.raises(Invalid):
        modality.metrics(raws, {})
