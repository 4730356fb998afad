"""The released images: what the weights know of chests, not only that they load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import puji
from benchmarks.common import Missing, source
from puji.errors import Invalid
from puji.modalities.images import assess, phantoms
from puji.modalities.images.conditions import Ask
from puji.modalities.images.demo import demo
from puji.modalities.images.image import Image
from puji.modalities.images.read import read
from puji.registry import CHECKPOINTS


def benchmark():
    """The file of the benchmark, None where it is not."""
    try:
        return source("images/pneumoniamnist.npz")
    except Missing:
        return None


@pytest.fixture(scope="module")
def model():
    return puji.load("images")


@pytest.fixture(scope="module")
def made(model):
    """Generated images of each label, without their labels."""
    batches = {name: model.generate(12, seed=5, label=name).records for name in ("normal", "pneumonia")}
    return {name: [replace(one, labels=None) for one in some] for name, some in batches.items()}


def probability(model, image):
    return model.predict(image, sure=0.0, unfamiliar="answer").estimates["pneumonia"].value


def test_it_says_what_it_knows_and_where_from(model):
    assert model.modality.labels.names == ("normal", "pneumonia") and model.modality.usual.n == 524
    folder = CHECKPOINTS / "images"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    card = (folder / "README.md").read_text("utf-8")
    for words in ("CC BY 4.0", "MedMNIST v2", "Kermany", "children", "Not for clinical use", "test: AUC"):
        assert words in card
    with pytest.raises(Invalid) as refusal:
        model.generate(1, label="pneumothorax")
    assert refusal.value.reason == "images.unknown_label" and "pneumonia" in refusal.value.message()


@pytest.mark.skipif(benchmark() is None, reason="the benchmark inputs are not here")
def test_it_tells_pneumonia_in_test_images_and_says_when_it_had_better_not(model):
    test = [raw.content for raw in read(benchmark()) if raw.content.split == "test"]
    some = [one for label in (("normal",), ("pneumonia",)) for one in [t for t in test if t.labels == label][:40]]
    found = assess.assess(model, some, Ask()).metrics
    assert found["AUC"].value > 0.94 and found["sensitivity"].value > 0.85 and found["specificity"].value > 0.7
    assert found["answered"].value > 0.8
    assert found["accuracy where answered"].value >= found["accuracy"].value - 0.02
    strange = [Image.of(255 - one.array) for one in some[:20]] + [Image.of(one.array[::-1]) for one in some[-20:]]
    assert np.mean([model.familiar(one) is False for one in strange]) > 0.85


def strangers():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28] / 28
    wave = 128 + 90 * np.sin(3 * x + 2 * y)
    spot = phantoms.lesion(rng).array.mean(2, keepdims=True)
    return {
        "chest drawn by code": phantoms.chest(rng).array,
        "with an opacity": phantoms.chest(rng, opacity=True).array,
        "black": np.zeros((28, 28, 1)),
        "white": np.full((28, 28, 1), 255),
        "grey": np.full((28, 28, 1), 128),
        "noise": rng.integers(0, 256, (28, 28, 1)),
        "ramp": phantoms.gradient().array,
        "smooth wave": wave[:, :, None],
        "spot on skin": spot,
        "skin in colour": phantoms.lesion(rng, 64).array,
    }


@pytest.mark.parametrize("name", strangers())
def test_what_is_no_chest_gets_no_answer(model, name):
    answer = model.predict(Image.of(strangers()[name].astype(np.uint8)))
    assert answer.familiar is False and not answer.estimates and "predict.abstained" in answer.notes


def test_generated_images_are_valid_by_seed_and_show_their_label(model, made):
    again = model.generate(12, seed=5, label="pneumonia").records
    assert [one.pixels for one in again] == [one.pixels for one in made["pneumonia"]]
    assert [one.pixels for one in model.generate(12, seed=6, label="pneumonia").records] != [
        one.pixels for one in again
    ]
    every = [*made["normal"], *made["pneumonia"]]
    assert len({one.pixels for one in every}) == 24
    assert all((one.size, one.channels) == (28, 1) and one.array.std() > 15 for one in every)
    assert not any(model.familiar(one) for one in every), "patches that are codes exactly are no photograph's"
    p = np.array([probability(model, one) for one in every])
    assert assess.auroc(p, np.repeat([False, True], 12)) > 0.9


def test_without_the_patches_that_speak_for_it_a_label_is_less_likely(model, made):
    ranked = sorted(made["pneumonia"], key=lambda one: probability(model, one))[-3:]
    for image in ranked:
        found = model.explain(image, target="pneumonia", method="occlusion")
        assert found.value > 0.8 and len(found.pieces) == 49
        best = max(found.pieces, key=lambda piece: piece.score(found.scores))
        assert best.score(found.scores) > 0


def test_the_demo_goes_from_the_image_to_the_report(model):
    shown = demo(model, 0)
    titles = [section.title.key for section in shown]
    assert titles == [f"images.demo.{name}" for name in ("generated", "answered", "reported", "unfit", "completed")]
    by_name = dict(zip(titles, shown, strict=True))
    note = by_name["images.demo.reported"].note
    assert "pneumonia [" in note.text("en") and "肺炎" in note.text("zh")
    causes = [row["because"].text("en") for row in by_name["images.demo.reported"].table]
    assert any("pneumonia" in cause for cause in causes)
    for figure in by_name["images.demo.unfit"].figures:
        assert set(figure.picture) == {"en", "zh"}
