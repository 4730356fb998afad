"""Reports of IU X-ray on R2Gen's split: the rule layer against human MeSH tags, drafts against human reports, beside a constant
report and retrieval in the same run; before and after the check; the impression from given findings.

Before the check: drafts as they are decoded, the first one, or the one that the others are most like, without a look at what the
rules read in them. The grammar that they are decoded under (`puji.modalities.reports.grammar`) knows the findings of the input:
the tokens before a sentence, its plan, name only these, and all of them. It does not read the sentence, which may say something
else.

Input: MeSH tags and indication; target: the findings section, cleaned as R2Gen cleans, without truncation and without replacing
rare words. Needs `puji data get iu-xray` and R2Gen's split in PUJI_BENCHMARK_DATA. A model that was trained before is taken from
the folder PUJI_BENCHMARK_RUNS, as reports-<seed>.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import puji
from benchmarks import common
from puji import flow
from puji.engine.decode import Prompt
from puji.engine.sampling import Sampling
from puji.modalities.reports import metrics
from puji.modalities.reports.check import Expected
from puji.modalities.reports.data import IU_FILE, IU_XRAY
from puji.modalities.reports.drafting import OURS, best, drafted
from puji.modalities.reports.judge import agreement, ratios
from puji.modalities.reports.labeller import findings_of
from puji.modalities.reports.modality import Reports
from puji.modalities.reports.plan import findings_section
from puji.modalities.reports.report import Report, checked
from puji.modalities.reports.tags import BROADER, named_by
from puji.modalities.reports.tokens import IMPRESSION, header
from puji.modalities.reports.words import words

SPLIT = "reports/iu_xray_r2gen_split.json"
EPOCHS = 20.0
SETTINGS: dict[str, Any] = {"dropout": 0.15, "batch_tokens": 2048, "learning_rate": 3e-3}
DRAFTS = 32
TEMPERATURE = 0.4
"""Both chosen on the validation reports."""
EQUALS = 100
"""Training reports with equal tags that are looked at for the most usual one."""
RARE = 10
"""A heading that stands in fewer training reports is rare."""
PUBLISHED = {
    "R2Gen (from images; published; with truncation and rare-word replacement)": (0.470, 0.165, 0.371),
    "DART, CVPR 2025 (from images; published)": (0.486, 0.208, 0.411),
    "SCOPE (from images; published)": (0.483, 0.249, 0.418),
}


class Row:
    """A report with its target; ``indexed``: whether people tagged it."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.indexed = "given" in fields
        self.report: Report = checked(fields)
        self.tagged = self.report if self.indexed else replace(self.report, given=())
        self.fields = fields
        self.target = metrics.r2gen(fields["findings"])


def split() -> dict[str, list[Row]]:
    """The reports of R2Gen's training, validation and test part, in its order. Raises Invalid where they were not fetched."""
    told = json.loads(common.source(SPLIT).read_text("utf-8"))
    lines = IU_XRAY.file(IU_FILE).read_text("utf-8").splitlines()
    fields = {row["subject"]: row for row in map(json.loads, lines)}
    return {part: [Row(fields[name.partition("_")[0]]) for name in names] for part, names in told.items()}


# -- the rule layer --------------------------------------------------------------------------------------------------------


def _broadened(names: Iterable[str]) -> set[str]:
    """Devices count as support devices: a MeSH heading does not say which."""
    return {BROADER[name] if BROADER.get(name) == "support devices" else name for name in names}


def labeller(rows: Sequence[Row]) -> dict[str, Any]:
    """Precision, recall and F1 of findings read as present in the whole text, against human MeSH tags."""
    right, wrong, left = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        if row.indexed:
            truth = _broadened(name for one in row.report.given for name in named_by(one))
            texts = f"{row.fields['findings']}\n{row.fields['impression']}"
            found = _broadened(name for name, state in findings_of(texts).items() if state == "present")
            right.update(truth & found)
            wrong.update(found - truth)
            left.update(truth - found)
    names = sorted({*right, *wrong, *left}, key=lambda name: (-right[name] - left[name], name))
    each = {name: {**ratios(right[name], wrong[name], left[name]), "n": right[name] + left[name]} for name in names}
    return {
        "micro": ratios(right.total(), wrong.total(), left.total()),
        "n": right.total() + left.total(),
        "each": each,
    }


# -- drafts ----------------------------------------------------------------------------------------------------------------


def figures(texts: Sequence[str], rows: Sequence[Row], known: set[str]) -> dict[str, dict[str, float]]:
    """BLEU, ROUGE-L and the share found word for word in training, of all, normal and abnormal reports."""
    told = [metrics.r2gen(text) for text in texts]
    places = {
        "all": list(range(len(rows))),
        "normal": [place for place, row in enumerate(rows) if not row.tagged.given],
        "abnormal": [place for place, row in enumerate(rows) if row.tagged.given],
    }
    found = {}
    for name, some in places.items():
        drafts, targets = [told[place] for place in some], [rows[place].target for place in some]
        scores = metrics.bleu(drafts, targets) if some else [0.0] * 4
        found[name] = {
            **{f"BLEU-{n}": score for n, score in enumerate(scores, 1)},
            "ROUGE-L": metrics.mean_rouge_l(drafts, targets) if some else 0.0,
            "word for word in training": mean(draft in known for draft in drafts) if some else 0.0,
            "n": len(some),
        }
    return found


def findings(reports: Sequence[Report], rows: Sequence[Row]) -> dict[str, float]:
    """Agreement with the tags, by the rule layer, of reports that people tagged."""
    pairs = [(one.text, Expected(row.report.given)) for one, row in zip(reports, rows, strict=True) if row.indexed]
    right, wrong, left, opposite = agreement([text for text, _ in pairs], [expected for _, expected in pairs])
    return {**ratios(right, wrong, left), "contradicted": opposite, "n": right + left}


def constant(train: Sequence[Row], some: int = 400) -> Row:
    """The training report that the others (every so manieth) are most like."""
    step = max(1, len(train) // some)
    sample = [row.target.split() for row in train[::step]]
    return max(train, key=lambda row: mean(metrics.rouge_l(row.target.split(), other) for other in sample))


def nearest(row: Row, train: Sequence[Row]) -> Row:
    """The training report whose tags are most like those of ``row`` (Jaccard); of equals the one that they are most like."""
    wanted = {str(one) for one in row.tagged.given} or {"normal"}

    def likeness(other: Row) -> float:
        told = {str(one) for one in other.tagged.given} or {"normal"}
        return len(wanted & told) / len(wanted | told)

    scores = [likeness(other) for other in train]
    equals = [other for other, score in zip(train, scores, strict=True) if score == max(scores)][:EQUALS]
    return _central(tuple(other.target for other in equals), equals)


def _central(targets: tuple[str, ...], equals: Sequence[Row]) -> Row:
    scores = _consensus(targets)
    return equals[scores.index(max(scores))]


@lru_cache(maxsize=1000)
def _consensus(targets: tuple[str, ...]) -> list[float]:
    return metrics.consensus(targets)


def sampled(
    model: Any, rows: Sequence[Row], n: int, seed: int, behind: Sequence[Sequence[str]] | None = None
) -> list[list[Report]]:
    """``n`` drafts of each row; ``behind``: tokens that follow the header. What did not come to its end is left out."""
    modality, vocabulary = model.modality, model.vocabulary
    starts = [header(row.tagged.indication, map(modality.known, row.tagged.given)) for row in rows]
    if behind is not None:
        starts = [[*start, *more] for start, more in zip(starts, behind, strict=True)]
    encoded = [flow.encode(modality, vocabulary, start) for start in starts]
    prompts = (
        Prompt(tuple(ids), seed=(seed * 100_003 + place) * 1000 + number, header=head)
        for place, (ids, head) in enumerate(encoded)
        for number in range(n)
    )
    grammar = modality.grammar(modality.Conditions())
    decoded = flow.decode(
        model.network,
        vocabulary,
        prompts,
        grammar,
        sampling=Sampling(temperature=TEMPERATURE),
        max_new_tokens=modality.context,
    )
    found: list[dict[int, Report]] = [{} for _ in rows]
    for one in decoded:
        place, number = divmod(one.index, n)
        told = flow.postprocess(modality, vocabulary, one.ids, starts[place]) if one.ended == "end" else None
        if isinstance(told, Report):
            found[place][number] = told
    return [[some[number] for number in sorted(some)] for some in found]


def likeliest(drafts: Sequence[Report]) -> Report:
    """The draft that the others are most like, whatever it says."""
    scores = metrics.consensus([" ".join(words(one.findings)).lower() for one in drafts])
    return drafts[scores.index(max(scores))]


def fit(folder: Path, rows: Sequence[Row], seed: int, epochs: float, size: str) -> Any:
    source = folder.with_suffix(".jsonl")
    source.write_text("".join(f"{json.dumps(row.fields)}\n" for row in rows), "utf-8")
    settings = {**SETTINGS, "progress": False, "patience": None}
    return puji.fit(Reports, source, epochs=epochs, seed=seed, out=folder, holdout=0, size=size, settings=settings)


def impressions(model: Any, rows: Sequence[Row], train: Sequence[Row], n: int) -> dict[str, Any]:
    """ROUGE-1, -2 and -L (F1, no stemming) of the impression that is written behind the true findings section."""
    some = [row for row in rows if row.fields["findings"] and row.fields["impression"]]
    behind = [[*findings_section(row.tagged.given, words(row.report.findings)), IMPRESSION] for row in some]
    drafts = sampled(model, some, n, 0, behind)
    told = []
    for one in drafts:
        texts = [report.impression for report in one] or [""]
        scores = metrics.consensus([" ".join(words(text)).lower() for text in texts])
        told.append(texts[scores.index(max(scores))])
    usual = Counter(row.report.impression for row in train).most_common(1)[0][0]
    targets = [_plain(row.report.impression) for row in some]

    def scored(texts: Sequence[str]) -> dict[str, float]:
        pairs = [(_plain(text), target) for text, target in zip(texts, targets, strict=True)]
        return {
            "ROUGE-1": mean(metrics.rouge_n(one, other, 1) for one, other in pairs),
            "ROUGE-2": mean(metrics.rouge_n(one, other, 2) for one, other in pairs),
            "ROUGE-L": mean(metrics.rouge_l(one, other, 1.0) if one else 0.0 for one, other in pairs),
        }

    return {"n": len(some), "constant": usual, "Puji": scored(told), "the constant": scored([usual] * len(some))}


def _plain(text: str) -> list[str]:
    """Words alone: signs, and the numbers of a list, say nothing."""
    return [word.lower() for word in words(text) if word.isalpha()]


def one_seed(parts: dict[str, list[Row]], seed: int, quick: bool, folder: Path) -> tuple[dict[str, Any], Any]:
    train, test = parts["train"], parts["test"]
    ready = Path(os.environ.get("PUJI_BENCHMARK_RUNS", folder)) / f"reports-{seed}"
    if quick or not ready.exists():
        model = fit(folder / f"seed-{seed}", train, seed, 2.0 if quick else EPOCHS, "nano" if quick else "micro")
    else:
        model = puji.load(ready)
    known = {row.target for row in train}
    drafts = sampled(model, test, 4 if quick else DRAFTS, seed)
    empty = sum(not one for one in drafts)
    blank = Report(findings=".")
    drafts = [one or [blank] for one in drafts]
    first = [one[0] for one in drafts]
    usual = [likeliest(one) for one in drafts]
    places = [best(one, Expected(row.tagged.given))[0] for one, row in zip(drafts, test, strict=True)]
    chosen = [one[place] for one, place in zip(drafts, places, strict=True)]
    final = [drafted(one, row.tagged.given, row.tagged.indication)[1] for one, row in zip(drafts, test, strict=True)]
    n = len(test)
    found = {
        "seed": seed,
        "training": model.card["training"],
        "texts": {
            name: figures([one.findings for one in some], test, known)
            for name, some in {
                "one draw": first,
                "consensus": usual,
                "chosen": chosen,
                "checked": final,
            }.items()
        },
        "findings": {
            "one draw": findings(first, test),
            "consensus": findings(usual, test),
            "chosen": findings(chosen, test),
            "checked": findings(final, test),
        },
        "repaired": sum(one.repaired for one in final) / n,
        "with a sentence of ours": sum(any(OURS in line.flags for line in one.lines) for one in final) / n,
        "flagged": sum(bool(one.flags) for one in final) / n,
        "empty": empty / n,
    }
    counts = Counter(one.name for row in train for one in row.tagged.given)
    shifted = [any(counts[one.name] < RARE for one in row.tagged.given) for row in test]
    abnormal = [bool(row.tagged.given) for row in test]
    for name, some in (("rare", shifted), ("usual", [a and not r for a, r in zip(abnormal, shifted, strict=True)])):
        places = [place for place, inside in enumerate(some) if inside]
        rows = [test[place] for place in places]
        found[name] = {
            "n": len(rows),
            "text": figures([final[place].findings for place in places], rows, known)["all"],
            "before": findings([first[place] for place in places], rows),
            "repaired": mean(final[place].repaired for place in places) if places else 0.0,
        }
    return found, model


def run(quick: bool = False, seeds: int = 3) -> dict[str, Any]:
    parts = split()
    if quick:
        parts = {name: rows[:80] for name, rows in parts.items()}
    train, test = parts["train"], parts["test"]
    known = {row.target for row in train}
    usual = constant(train, 40 if quick else 400)
    near = [nearest(row, train) for row in test]
    with tempfile.TemporaryDirectory() as folder:
        rows, models = [], []
        for seed in range(1 if quick else seeds):
            found, model = one_seed(parts, seed, quick, Path(folder))
            rows.append(found)
            models.append(model)
        impression = impressions(models[0], test, train, 4 if quick else DRAFTS)
        parameters = models[0].card["parameters"]
    merged = {}
    for part in ("all", "normal", "abnormal"):
        for name in ("BLEU-1", "BLEU-4", "ROUGE-L"):
            some = [row["texts"]["checked"][part][name] for row in rows]
            merged[f"{part} {name}"] = {"mean": mean(some), "stdev": stdev(some) if len(some) > 1 else None}
    return {
        "data": {name: len(some) for name, some in parts.items()},
        "parameters": parameters,
        "protocol": {"epochs": EPOCHS, "drafts": DRAFTS, "temperature": TEMPERATURE, "settings": SETTINGS},
        "labeller": {"development": labeller([*train, *parts["val"]]), "test": labeller(test)},
        "beside": {
            "one constant report": figures([usual.fields["findings"]] * len(test), test, known),
            "nearest tags (retrieval)": figures([row.fields["findings"] for row in near], test, known),
            "the human reports themselves": figures([row.fields["findings"] for row in test], test, known),
        },
        "beside findings": {
            "nearest tags (retrieval)": findings([row.report for row in near], test),
            "the human reports themselves": findings([row.report for row in test], test),
        },
        "published": PUBLISHED,
        "seeds": rows,
        "mean": merged,
        "impression": impression,
    }
