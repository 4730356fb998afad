"""Sentences of ours, for a finding that no draft of the network states."""

from __future__ import annotations

from collections.abc import Sequence

from puji.findings import named
from puji.modalities.reports.labeller import State, findings_of
from puji.modalities.reports.tags import BROADER
from puji.modalities.reports.words import cleaned

SPOKEN = {
    "lung opacity": "lung opacity",
    "granuloma": "calcified granuloma",
    "degenerative change": "degenerative changes",
    "low lung volumes": "low lung volumes",
    "edema": "pulmonary edema",
    "device": "implanted device",
    "support devices": "support device",
}
COUNTED = (
    *("hernia", "nodule", "mass", "pneumothorax", "pleural effusion", "fracture", "granuloma", "cavity", "scoliosis"),
    *("endotracheal tube", "tracheostomy tube", "enteric tube", "chest tube", "central venous catheter", "pacemaker"),
    *(
        "device",
        "support devices",
        "tortuous aorta",
        "elevated diaphragm",
        "diaphragmatic eventration",
        "blunted costophrenic angle",
    ),
    "enlarged mediastinum",
)
"""Findings before which an article stands."""
ENGLISH = {"present": "There is {}.", "absent": "No {}.", "uncertain": "Possible {}."}
CHINESE = {"present": "可见{}。", "absent": "未见{}。", "uncertain": "{}可能。"}
BEFORE = ("mild", "moderate", "severe", "small", "large", "chronic", "left", "right", "bilateral")
ZH = {
    "left": "左侧",
    "right": "右侧",
    "bilateral": "双侧",
    "mild": "轻度",
    "moderate": "中度",
    "severe": "重度",
    "small": "少量",
    "large": "大量",
    "chronic": "慢性",
}


def phrase(name: str, state: State, qualifiers: Sequence[str], language: str) -> str | None:
    """A sentence that states the finding ``name``; None where the rules would read something else in it."""
    told = [one for one in BEFORE if one in qualifiers]
    if language == "zh":
        text = CHINESE[state].format("".join(ZH[one] for one in told) + named(name, "zh"))
    else:
        spoken = " ".join([*told, SPOKEN.get(name, name)])
        if state == "present" and name in COUNTED:
            spoken = f"{'an' if spoken[0] in 'aeiou' else 'a'} {spoken}"
        text = ENGLISH[state].format(spoken)
    text = cleaned(text)
    read = findings_of(text).items()
    return text if any(told == state and name in (one, BROADER.get(one)) for one, told in read) else None
