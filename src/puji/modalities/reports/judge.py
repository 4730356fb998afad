"""The figures of merit of drafts: agreement with their findings, and likeness to reference reports of the same subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from puji.errors import Invalid
from puji.modalities.reports.check import Expected
from puji.modalities.reports.metrics import bleu, mean_rouge_l
from puji.modalities.reports.report import Report
from puji.modalities.reports.words import words
from puji.modality import Metric


def agreement(texts: Sequence[str], given: Sequence[Expected]) -> tuple[int, int, int, int]:
    """Over all texts: findings stated as given, stated otherwise or not given, not stated; and contradicted ones."""
    right = wrong = left = opposite = 0
    for text, expected in zip(texts, given, strict=True):
        found = expected.check(text)
        wanted = {name for name, state in expected.states.items() if state != "absent"}
        missed = wanted & {*found.missing, *found.contradicted}
        right += len(wanted) - len(missed)
        left += len(missed)
        wrong += len(found.added) + len(found.contradicted)
        opposite += len(found.contradicted)
    return right, wrong, left, opposite


def ratios(right: int, wrong: int, left: int) -> dict[str, float]:
    """Precision, recall and F1; 1 where there is nothing to find."""
    return {
        "precision": right / (right + wrong) if right + wrong else 1.0,
        "recall": right / (right + left) if right + left else 1.0,
        "F1": 2 * right / (2 * right + wrong + left) if right + wrong + left else 1.0,
    }


def report_metrics(
    samples: Sequence[Report | None], references: Mapping[str, Sequence[Report | None]]
) -> dict[str, Metric]:
    """Valid, agreement with the given findings by the rule layer; BLEU and ROUGE-L to references of the same subject.

    Raises Invalid without samples.
    """
    if not samples:
        raise Invalid("reports.no_rows")
    known = [one for one in samples if one is not None]
    n = len(known)
    found = {"valid": Metric(n / len(samples), len(samples), "up")}
    right, wrong, left, opposite = agreement([one.text for one in known], [Expected(one.given) for one in known])
    for name, value in ratios(right, wrong, left).items():
        found[f"finding {name}"] = Metric(value, right + wrong + left, "up")
    found["contradicted"] = Metric(float(opposite), n, "down")
    found["flagged"] = Metric(sum(bool(one.flags) for one in known) / n if n else 0.0, n, "down")
    by_subject = {one.subject: one for some in references.values() for one in some if one is not None and one.subject}
    pairs = [(one, by_subject[one.subject]) for one in known if one.subject in by_subject]
    if pairs:
        told = [" ".join(words(one.findings)).lower() for one, _ in pairs]
        wanted = [" ".join(words(other.findings)).lower() for _, other in pairs]
        for order, value in enumerate(bleu(told, wanted), 1):
            found[f"BLEU-{order}"] = Metric(value, len(pairs), "up")
        found["ROUGE-L"] = Metric(mean_rouge_l(told, wanted), len(pairs), "up")
    elif by_subject:
        texts = {other.findings for other in by_subject.values()}
        found["word for word"] = Metric(sum(one.findings in texts for one in known) / n if n else 0.0, n, "down")
    return found
