"""Safety rules of a care setting, outside the model: they read a proposal and the patient's facts, nothing else.

    rules = load_rules(Path("rules.toml"))
    verdict = Safety(rules).check(facts, orders)

What is unknown, stale, malformed or fails is vetoed. See layer.py for why a model cannot switch them off.
"""

from puji.modalities.plans.safety.facts import Current, Facts, Given, Observation
from puji.modalities.plans.safety.layer import Safety
from puji.modalities.plans.safety.rules import Rules, load_rules

__all__ = ["Current", "Facts", "Given", "Observation", "Rules", "Safety", "load_rules"]
