"""The section of RESULTS.md on reports."""

from __future__ import annotations

from typing import Any

from benchmarks.report_tables import number, table

SHOWN = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "word for word in training")
AGREEMENT = ("precision", "recall", "F1")
FEW = 5
"""Findings that stand in fewer test reports are told together."""


def _texts(results: dict[str, Any], part: str) -> list[list[str]]:
    rows = results["seeds"]
    told = []
    for name, label in (
        ("one draw", "Puji, one draw"),
        ("consensus", "Puji, consensus"),
        ("chosen", "Puji, the draft that agrees best"),
        ("checked", "**Puji, repaired**"),
    ):
        some = [row["texts"][name][part] for row in rows]
        told.append([label, *(number(sum(one[key] for one in some) / len(some), 3) for key in SHOWN)])
    for name, parts in results["beside"].items():
        told.append([name, *(number(parts[part][key], 3) for key in SHOWN)])
    return told


def reports(results: dict[str, Any]) -> str:
    rows, protocol, data = results["seeds"], results["protocol"], results["data"]
    n = len(rows)

    def average(key: str) -> str:
        return f"{100 * sum(row[key] for row in rows) / n:.1f} %"

    ours = (
        ("one draw", "Puji, one draw (before the check)"),
        ("consensus", "Puji, consensus (before the check)"),
        ("chosen", f"Puji, the best of {protocol['drafts']} by the check"),
        ("checked", "**Puji, repaired**"),
    )
    agreement = []
    for name, label in ours:
        some = [row["findings"][name] for row in rows]
        figures = [number(sum(one[key] for one in some) / n, 3) for key in AGREEMENT]
        agreement.append([label, *figures, number(sum(one["contradicted"] for one in some) / n, 1)])
    for name, one in results["beside findings"].items():
        agreement.append([name, *(number(one[key], 3) for key in AGREEMENT), str(one["contradicted"])])
    labeller = results["labeller"]["test"]
    each = [
        [name, str(one["n"]), *(number(one[key], 3) for key in AGREEMENT)]
        for name, one in labeller["each"].items()
        if one["n"] >= FEW
    ]
    few = sorted(name for name, one in labeller["each"].items() if one["n"] < FEW)
    published = [[name, *(number(value, 3) for value in some)] for name, some in results["published"].items()]
    impression = results["impression"]
    written = [
        [name, *(number(impression[name][key], 3) for key in ("ROUGE-1", "ROUGE-2", "ROUGE-L"))]
        for name in ("Puji", "the constant")
    ]
    shifted = []
    for name, label in (("usual", "the other abnormal reports"), ("rare", "**with a rare heading**")):
        some = [row[name] for row in rows]
        values = (
            sum(one["text"]["BLEU-4"] for one in some) / n,
            sum(one["text"]["ROUGE-L"] for one in some) / n,
            sum(one["before"]["F1"] for one in some) / n,
            sum(one["repaired"] for one in some) / n,
        )
        shifted.append([label, str(some[0]["n"]), *(number(value, 3) for value in values)])
    minutes = ", ".join(f"{row['training']['minutes']:.0f}" for row in rows)
    head = ["test", *SHOWN]
    agreed = ["test", *AGREEMENT, "contradicted"]
    micro = labeller["micro"]
    return (
        f"IU X-ray (Open-i; CC BY-NC-ND 4.0, not shipped), R2Gen's split: {data['train']:,} training, {data['val']} validation,"
        f" {data['test']} test reports. Input: MeSH tags and indication; target: the findings section, cleaned as R2Gen cleans."
        f" {results['parameters']:,} parameters, {protocol['epochs']:g} epochs, {minutes} minutes beside other work,"
        f" {n} seed(s);"
        f" {protocol['drafts']} drafts a report, temperature {protocol['temperature']:g}.\n\n**All {data['test']} reports**\n\n"
        + table(head, _texts(results, "all"))
        + f"\n\n**The {rows[0]['texts']['checked']['abnormal']['n']} abnormal ones**\n\n"
        + table(head, _texts(results, "abnormal"))
        + f"\n\n**The {rows[0]['texts']['checked']['normal']['n']} normal ones**\n\n"
        + table(head, _texts(results, "normal"))
        + "\n\nContext, scored otherwise and from images:\n\n"
        + table(["published", "BLEU-1", "BLEU-4", "ROUGE-L"], published)
        + "\n\n**Findings of a draft against those given**, by the rule layer (a doubted finding that was not given counts as"
        " wrong, which human reports have too; before the check means drafts as decoded: the grammar lets the plan before each"
        " sentence name the findings of the input only, and all of them, and does not read the sentence; what repairs is also"
        " what judges, so the last row shows that repairing works, not that the rules are right: for that see the rule layer"
        " below):\n\n"
        + table(agreed, agreement)
        + f"\n\nF1 of one draw by seed: {', '.join(number(row['findings']['one draw']['F1'], 3) for row in rows)}."
        f" Repaired {average('repaired')} (findings that do not agree, and what the input does not tell: comparisons with"
        f" earlier images, doubt, sides, operations, repeated words), with a sentence written by rule"
        f" {average('with a sentence of ours')}, flagged {average('flagged')}, empty {average('empty')}.\n\n"
        "Shifted: test reports with a heading that stands in fewer than ten training reports, beside the other abnormal ones"
        " (texts of the repaired drafts, F1 of one draw before the check):\n\n"
        + table(["test", "n", "BLEU-4", "ROUGE-L", "F1 of findings", "share repaired"], shifted)
        + "\n\n"
        f"**The rule layer itself** against human MeSH tags, test part (lexicon and cues made on the training and validation"
        f" parts, F1 there {number(results['labeller']['development']['micro']['F1'], 3)}): precision"
        f" {number(micro['precision'], 3)},"
        f" recall {number(micro['recall'], 3)}, **F1 {number(micro['F1'], 3)}** over {labeller['n']} findings.\n\n"
        + table(["finding", "n", *AGREEMENT], each)
        + f"\n\nFewer than {FEW} each: {', '.join(few)}.\n\n"
        f"**Impression from the true findings section** and the tags, {impression['n']} test reports, F1 without stemming"
        ' (published on another split, with stemming: .670 / .563 / .660; its constant .490 / .383 / .490); the constant is "'
        f'{impression["constant"]}"\n\n' + table(["", "ROUGE-1", "ROUGE-2", "ROUGE-L"], written)
    )
