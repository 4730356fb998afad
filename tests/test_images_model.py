"""A nano model that learned phantoms: what it answers, notices, draws and tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import puji
from puji.commands.judge import Given, answer_row
from puji.engine import network as networks
from puji.engine.vocabulary import Vocabulary
from puji.errors import Invalid
from puji.modalities.images import draw, views
from puji.modalities.images.image import Image
from puji.modalities.images.modality import Images
from puji.modalities.images.tokens import IMAGE
from puji.modality import END, Estimate
from puji.model import Model
from tests.images_cases import chests, stacked


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A nano model of phantoms, its held-out ones marked."""
    folder = tmp_path_factory.mktemp("images")
    parts = {"train": chests(160, 1), "val": chests(40, 2), "test": chests(40, 3)}
    told = {f"{part}_images": stacked(some)[:, :, :, 0] for part, some in parts.items()}
    told |= {f"{part}_labels": np.array([[n % 2] for n in range(len(some))]) for part, some in parts.items()}
    np.savez(folder / "phantoms.npz", **told, label_names=np.array(["clear", "opacity"]))
    settings = {"progress": False, "precision": "fp32", "batch_tokens": 1024, "compile": False, "dropout": 0.0}
    return puji.fit(
        "images",
        folder / "phantoms.npz",
        epochs=16,
        size="nano",
        out=folder / "model",
        settings=settings,
        setup={"codes": 64},
    )


def test_too_few_held_out_images_are_told_with_their_number(model):
    image = chests(1, 50)[0]
    (told,) = model.modality.remarks(image, model.predict(image, sure=0.0))
    assert "160 images" in told and "40 held-out" in told and "--unfamiliar answer" in told
    again = Images()
    again.restore(model.modality.state())
    assert again.remarks(image, model.predict(image, sure=0.0)) == [told]
    # The released one has enough.
    assert puji.load("images").modality.remarks(image, model.predict(image, sure=0.0)) == []


def test_tables_hold_no_pixels(model, tmp_path):
    batch = model.generate(2, seed=0)
    batch.save(tmp_path / "new.csv")
    text = (tmp_path / "new.csv").read_text("utf-8")
    assert len(text) < 2000 and "pixels" not in text and "28" in text
    image = chests(1, 50)[0]
    row = Given(image).row(model.modality)
    assert row["record"] == "28 x 28, clear"
    assert len(str(answer_row(model.modality, Given(image), model.predict(image, sure=0.0)))) < 2000


def test_axes_of_a_figure_are_of_one_height(monkeypatch):
    heights = []

    def measured(figure, kind):
        figure.canvas.draw()
        heights.append([round(one.get_window_extent().height, 1) for one in figure.axes if one.axison])
        heights[-1] += [round(one.get_window_extent().height, 1) for one in figure.axes if one.images]
        return ""

    monkeypatch.setattr("puji.figures.drawn", measured)
    image, surprise = chests(1)[0].array, np.arange(49.0)
    draw.answered(image, surprise, {"opacity": Estimate(0.8, 0.8, 0.8), "clear": Estimate(0.2, 0.2, 0.2)}, "png")
    draw.answered(image, surprise, {}, "png", title="A title")
    draw.explained(image, np.ones((7, 7)), "png", title="A title")
    for found in heights:
        assert len(found) >= 3 and max(found) - min(found) <= 1.0, found


def test_the_datas_own_parts_are_kept(model):
    data = model.card["data"]
    assert (data["training_records"], data["held_out_records"]) == (160, 40)
    assert model.modality.reading.n == 80  # each as it is and once changed


def test_it_tells_new_phantoms_apart_and_judges_only_the_test_part(model):
    found = model.modality.assess(
        model, [replace(one, split="test") for one in chests(40, 3)] + chests(20, 1), None
    ).metrics
    assert found["AUC"].n == 40 and found["AUC"].value > 0.85
    assert found["AUC"].low <= found["AUC"].value <= found["AUC"].high
    with pytest.raises(Invalid):
        model.modality.assess(model, [replace(chests(1)[0], labels=None)], None)


def test_an_answer_has_probabilities_and_surprises(model):
    clear = chests(1, 50)[0]
    answer = model.predict(clear, sure=0.0, unfamiliar="answer")
    assert set(answer.estimates) == {"clear", "opacity"}
    assert sum(one.value for one in answer.estimates.values()) == pytest.approx(1)
    assert answer.token_log_likelihoods.sum() == pytest.approx(answer.log_likelihood)
    assert len(answer.token_log_likelihoods) == 51
    pictures = model.modality.render_answer(clear, answer)
    assert pictures["image/png"][:4] == b"\x89PNG" and "<svg" in pictures["image/svg+xml"]


def test_a_spot_that_does_not_belong_is_where_the_surprise_is(model):
    rises = 0
    for image in chests(10, 60):
        array = image.array.copy()
        array[16:20, 8:12] = np.random.default_rng(0).integers(0, 256, (4, 4, 1))
        patch = 4 * 7 + 2
        before, after = (
            -model.predict(one, sure=0.0, unfamiliar="answer").token_log_likelihoods[1:-1]
            for one in (image, Image.of(array))
        )
        rises += after[patch] > np.delete(after, patch).mean() and after[patch] > before[patch]
    assert rises >= 8


@pytest.mark.parametrize("kind", ["noise", "blank", "inverted"])
def test_what_is_no_such_image_gets_no_answer(model, kind):
    image = chests(1, 70)[0].array
    array = {
        "noise": np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8),
        "blank": np.full_like(image, 128),
        "inverted": 255 - image,
    }[kind]
    answer = model.predict(Image.of(array))
    assert answer.familiar is False and not answer.estimates and "predict.abstained" in answer.notes


def test_explanations_lie_over_the_image(model):
    image = chests(2, 80)[1]
    for method in ("occlusion", "integrated_gradients"):
        found = model.explain(image, target="opacity", method=method)
        assert len(found.scores) == 51 and len(found.pieces) == 49 and found.pieces[8].name == "2:2"
        assert set(found.pictures) == {"image/svg+xml", "image/png"}
    with pytest.raises(Invalid):
        model.explain(image, target="fracture")


def test_it_draws_what_is_asked(model, tmp_path):
    batch = model.generate(8, seed=1, label="opacity")
    assert all(record.labels == ("opacity",) and record.size == 28 for record in batch)
    assert len(set(batch.records)) == 8
    both = {record.labels for record in model.generate(20, seed=2)}
    assert both == {("clear",), ("opacity",)}
    batch.save(tmp_path / "new.png")
    batch.save(tmp_path / "new.svg")
    batch.save(tmp_path / "new.npz")
    assert sum(1 for _ in model.modality.read(tmp_path / "new.npz")) == 8
    for wrong in ({"label": "fracture"}, {"label": "clear; opacity"}, {"region": "0,0,1,1"}):
        with pytest.raises(Invalid):
            model.generate(1, **wrong)


def test_it_completes_a_region_and_keeps_the_rest(model, tmp_path):
    from PIL import Image as Pillow

    source = chests(1, 90)[0]
    Pillow.fromarray(source.array[:, :, 0]).save(tmp_path / "a.png")
    batch = model.generate(4, seed=0, complete=str(tmp_path / "a.png"), region="0,0,0.5,1")
    kept = model.modality.postprocess(model.modality.encode(source)).array
    hidden = np.kron(views.region(7, (0, 0, 0.5, 1)).reshape(7, 7), np.ones((4, 4), bool))
    for record in batch:
        assert (record.array[~hidden] == kept[~hidden]).all()
    assert len({record.pixels for record in batch}) > 1


def test_a_folder_brings_it_back(model, tmp_path):
    model.save(tmp_path / "saved")
    again = puji.load(tmp_path / "saved")
    assert again.modality.reading == model.modality.reading
    image = chests(1, 7)[0]
    one, two = (
        some.predict(image, sure=0.0, unfamiliar="answer").estimates["opacity"].value for some in (model, again)
    )
    assert one == pytest.approx(two, abs=0.05)  # weights are kept in bfloat16


def test_without_labels_there_is_nothing_to_predict():
    modality = Images()
    modality.learn([replace(one, labels=None) for one in chests(4)])
    vocabulary = Vocabulary(modality.tokens())
    shape = networks.config("nano", len(vocabulary), context=modality.context, end=vocabulary.ids[END])
    untrained = Model(modality, vocabulary, networks.build(shape, seed=0), {})
    with pytest.raises(Invalid) as refusal:
        untrained.predict(chests(1)[0])
    assert refusal.value.reason == "images.no_labels"
    assert modality.prompt(modality.Conditions(), np.random.default_rng(0)) == [IMAGE]
