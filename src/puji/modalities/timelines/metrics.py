"""All figures of a cohort: fidelity to references, each beside what real patients reach, and privacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from puji.errors import Invalid
from puji.intervals import proportion
from puji.modalities.timelines import fidelity, privacy
from puji.modalities.timelines.parse import checked
from puji.modalities.timelines.timeline import Timeline
from puji.modality import Metric, Raw

LEAST = 20
"""Patients on each side, from which there are figures."""


def cohort_metrics(
    samples: Sequence[Raw | Invalid], references: Mapping[str, Sequence[Raw | Invalid]]
) -> dict[str, Metric]:
    """Fidelity of ``samples`` to the reference "train" (or the first one); with a reference "test" of patients that were
    not trained on also the ceiling that they set, privacy, and train-on-synthetic-test-on-real.

    Raises Invalid for fewer than `LEAST` patients on a side.
    """
    if not references:
        raise Invalid("timelines.no_reference")
    cohorts = {name: usable(found) for name, found in references.items()}
    synthetic = usable(samples)
    if min(len(synthetic), *map(len, cohorts.values())) < LEAST:
        raise Invalid("timelines.few", least=LEAST)
    real = reference(cohorts)
    found = {"valid": Metric(len(synthetic) / len(samples), len(samples), "up")}
    found |= alike(real, synthetic)
    if (held_out := cohorts.get("test")) is not None:
        found |= {f"{name}, real": one for name, one in alike(real, held_out).items()}
        found |= private(synthetic, real, held_out)
        tstr, trtr, n = fidelity.transfer(real, synthetic, held_out)
        found |= {"TSTR AUROC": Metric(tstr, n, "up"), "TRTR AUROC": Metric(trtr, n, "up")}
    return found


def reference(cohorts: Mapping[str, list[Timeline]]) -> list[Timeline]:
    """The cohort that samples are compared with: "train", or else the first."""
    return cohorts.get("train") or next(iter(cohorts.values()))


def alike(real: Sequence[Timeline], other: Sequence[Timeline]) -> dict[str, Metric]:
    """How like ``real`` another cohort is."""
    n = len(other)
    lengths = [np.array([len(one.events) for one in cohort]) for cohort in (real, other)]
    ends = [np.array([one.end for one in cohort]) for cohort in (real, other)]
    return {
        "prevalence R2": Metric(fidelity.agreement(real, other, fidelity.codes), n, "up"),
        "unigram R2": Metric(
            fidelity.agreement(real, other, lambda one: [event.code for event in one.events]), n, "up"
        ),
        "co-occurrence R2": Metric(fidelity.agreement(real, other, fidelity.pairs), n, "up"),
        "bigram R2": Metric(fidelity.agreement(real, other, fidelity.bigrams), n, "up"),
        "onset age KS": Metric(fidelity.onset_ages(real, other), n, "down"),
        "events per patient KS": Metric(fidelity.kolmogorov_smirnov(*lengths), n, "down"),
        "age at end KS": Metric(fidelity.kolmogorov_smirnov(*ends), n, "down"),
        "discriminator AUROC": Metric(fidelity.discriminator(real, other), n),
    }


def private(
    synthetic: Sequence[Timeline], training: Sequence[Timeline], held_out: Sequence[Timeline]
) -> dict[str, Metric]:
    """How near ``synthetic`` is to those trained on."""
    n = len(synthetic)
    attack, low, high = privacy.membership(synthetic, training, held_out)
    ratio, nearest, farthest = privacy.distance_ratio(synthetic, training, held_out)
    return {
        "exact copies": proportion(privacy.exact_copies(synthetic, training), n, "down"),
        "exact copies, real": proportion(privacy.exact_copies(held_out, training), len(held_out), ""),
        "distance ratio": Metric(ratio, n, "up", nearest, farthest),
        "membership AUROC": Metric(attack, n, "", low, high),
    }


def usable(raws: Sequence[Raw | Invalid]) -> list[Timeline]:
    """The patients among what was read."""
    found = []
    for raw in raws:
        try:
            if not isinstance(raw, Invalid):
                found.append(checked(raw.content))
        except Invalid:
            continue
    return found
