"""The released plans on ICU-Sepsis: what they are worth, exactly. Needs ``puji data get icu-sepsis``."""

from __future__ import annotations

from typing import Any

import numpy as np

import puji
from benchmarks.sepsis import of_states
from puji.modalities.plans import sepsis
from puji.modalities.plans.assess import planned


def run(quick: bool) -> dict[str, Any]:
    """Exact probabilities of survival, and the share of states in which the plan abstains."""
    environment = sepsis.environment()
    model = puji.load("plans")
    says = of_states(model)
    policy, silent = planned(says, model.modality.Ask().least)
    visited = says.support.sum(1)
    found = {
        "survival under the plan (where it abstains, as the model says that clinicians act)": environment.survival(
            policy
        ),
        "survival under the best supported action, never abstaining": environment.survival(np.eye(25)[says.choice()]),
        "survival under the clinicians": environment.survival(environment.clinician),
        "survival under the best policy that there is": environment.survival(environment.optimal()),
        "share of decisions at which the plan abstains": float((visited * silent).sum() / visited.sum()),
    }
    return {"metrics": {name: {"value": value, "low": None, "high": None} for name, value in found.items()}}
