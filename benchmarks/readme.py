"""The measured part of README.md and README.zh.md, from results/*.json, between two marks in each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks import common
from benchmarks.report_tables import table

PAGES = {"en": Path(__file__).parent.parent / "README.md", "zh": Path(__file__).parent.parent / "README.zh.md"}
BEGIN, END = "<!-- measured: python -m benchmarks.report -->", "<!-- end -->"

HEADS = {
    "en": ["MOSES, 30,000 molecules", "Puji, raw draws", "Puji, grammar on", "CharRNN (published)"],
    "zh": ["MOSES，30,000 个分子", "普及，原始采样", "普及，启用语法", "CharRNN（已发表）"],
}
ROWS = {
    "valid": ("valid", "有效率", ".975"),
    "unique@10k": ("unique of 10,000", "10,000 个中的唯一率", ".999"),
    "Novelty": ("novelty", "新颖性", ".842"),
    "Filters": ("pass the medicinal filters", "通过药物化学过滤", ".994"),
    "FCD/Test": ("FCD to Test (lower is better)", "与 Test 的 FCD（越低越好）", ".073"),
    "FCD/TestSF": ("FCD to TestSF (lower is better)", "与 TestSF 的 FCD（越低越好）", ".520"),
    "SNN/Test": ("similarity to nearest test molecule", "与最近测试分子的相似度", ".602"),
}
PROSE = {
    "en": (
        "Raw draws: mean of {seeds} sampling seeds. These weights saw {tokens:.0f} million tokens, {epochs:.2f} epochs of MOSES,"
        " in {hours:.1f} core-hours. True training molecules score {floor:.3f} / {floor_sf:.3f}: an FCD of 30,000 molecules"
        " cannot be 0. From the command line to the first molecule: {first:.1f} s; to 100 molecules with all their properties:"
        " {hundred:.1f} s (two cores). Raw sampling: {rate:,.0f} molecules a second in bfloat16, {times:.1f} times stock"
        " `generate` at its best batch."
    ),
    "zh": (
        "原始采样为 {seeds} 个采样种子的平均值。该权重学习了 {ten_thousands:,.0f} 万个词元"
        "（MOSES 训练集的 {epochs:.2f} 个 epoch），用时 {hours:.1f} 核时。"
        "真实训练分子的得分为 {floor:.3f} / {floor_sf:.3f}：仅用 30,000 个分子计算，FCD 不可能为 0。"
        "从输入命令到第一个分子：{first:.1f} 秒；到 100 个分子及其全部性质：{hundred:.1f} 秒（双核）。"
        "原始采样：bfloat16 下每秒 {rate:,.0f} 个分子，是原生 `generate`（取其最佳批量）的 {times:.1f} 倍。"
    ),
}


def measured(language: str) -> str:
    """The table and what should be said of it, in ``language``."""
    quality, sampling, startup = (_results(suite) for suite in ("molecules_quality", "sampling", "startup"))
    raw, product, training = quality["raw"], quality["product"], quality["model"]["training"]
    rows: list[list[str]] = []
    for key, (english, chinese, published) in ROWS.items():
        ours = mean(row[key]["value"] for row in raw)
        name = english if language == "en" else chinese
        rows.append([name, f"{ours:.3f}", f"{product[key]['value']:.3f}", published])
    copies = _results("molecules_dummies")["copies of training molecules"]
    prose = PROSE[language].format(
        seeds=len(raw),
        tokens=training["tokens"] / 1e6,
        ten_thousands=training["tokens"] / 1e4,
        epochs=training["epochs"],
        hours=training["core_hours"],
        floor=copies["FCD/Test"]["value"],
        floor_sf=copies["FCD/TestSF"]["value"],
        first=startup["first molecule"]["median_seconds"],
        hundred=startup["100 molecules"]["median_seconds"],
        rate=sampling["sequences_per_second"]["puji bfloat16"],
        times=sampling["times_generate"]["bfloat16"],
    )
    return f"{table(HEADS[language], rows)}\n\n{prose}"


TIMELINES = {
    "en": (
        [
            "Next disease of patients never seen (Delphi's synthetic cohort)",
            "Puji",
            "age and sex",
            "Delphi-2M's demo, 1,000 steps",
        ],
        "{parameters:,} parameters, {minutes:.0f} minutes on two cores, mean of {seeds} seeds; diseases that a patient has had"
        " are left out of the ranking.",
        " On simulated patients whose true hazards are known, {share:.0%} of the oracle's AUROC above chance, calibration slope"
        " {slope:.2f}.",
    ),
    "zh": (
        ["下一种疾病（Delphi 合成队列中未参与训练的患者）", "普及", "年龄与性别", "Delphi-2M 演示模型，1,000 步"],
        "{parameters:,} 个参数，双核训练 {minutes:.0f} 分钟，{seeds} 个种子的平均值；排名中不计患者已患的疾病。",
        "在真实风险已知的模拟患者上，高于随机水平的 AUROC 达到理论上限的 {share:.0%}，校准斜率 {slope:.2f}。",
    ),
}
AUTHORS = "the authors' demo, 1,000 of its 5,000 steps (174,149 targets), past excluded"


def timelines(language: str) -> str:
    """The table of timelines and what should be said of it, in ``language``; '' where the suites have not run."""
    if common.read("timelines_quality") is None or common.read("timelines_truth") is None:
        return ""
    found, truth = _results("timelines_quality"), _results("timelines_truth")
    heads, prose, more = TIMELINES[language]
    rows: list[list[str]] = []
    for place, top in enumerate((1, 5, 10)):
        ours, plain = (one[f"top{top}_excluded"] for one in (found["mean"], found["tables"]["age and sex"]))
        rows.append([f"top-{top}", f"{ours:.3f}", f"{plain:.3f}", f"{found['published'][AUTHORS][place]:.3f}"])
    told = prose.format(
        parameters=found["parameters"],
        minutes=mean(one["training"]["minutes"] for one in found["seeds"]),
        seeds=len(found["seeds"]),
    ) + more.format(share=truth["share"]["Puji"], slope=truth["slope"]["Puji"])
    return f"{table(heads, rows)}\n\n{told}"


IMAGES = {
    "en": (
        ["PneumoniaMNIST at 28 px, test", "AUC", "accuracy"],
        "Puji, mean of {seeds} seeds",
        "{parameters:,} parameters, {minutes:.0f} minutes of training on one thread; sensitivity {sensitivity:.2f}, specificity"
        " {specificity:.2f}. A classifier trained on its generated images alone reaches {tstr:.3f}, on real ones {trtr:.3f}.",
    ),
    "zh": (
        ["PneumoniaMNIST（28 像素）测试集", "AUC", "准确率"],
        "普及（{seeds} 个种子的平均值）",
        "{parameters:,} 个参数，单线程训练 {minutes:.0f} 分钟；灵敏度 {sensitivity:.2f}，特异度 {specificity:.2f}。"
        "仅用其生成图像训练的分类器 AUC 为 {tstr:.3f}，用真实图像训练的为 {trtr:.3f}。",
    ),
}


def images(language: str) -> str:
    """The table of images, in ``language``; '' where the suite has not run."""
    if common.read("images_quality") is None:
        return ""
    found = _results("images_quality")
    heads, ours, prose = IMAGES[language]
    rows = [[name, f"{auc:.3f}", f"{accuracy:.3f}"] for name, (auc, accuracy) in found["rivals"].items()]
    mine = [f"{found['mean'][key]:.3f}" for key in ("AUC", "accuracy")]
    rows.append([ours.format(seeds=len(found["seeds"])), *mine])
    drawn = found["generation"]["sets"]["generated"]
    told = prose.format(
        parameters=found["parameters"],
        minutes=mean(one["training"]["minutes"] for one in found["seeds"]),
        sensitivity=found["mean"]["sensitivity"],
        specificity=found["mean"]["specificity"],
        tstr=drawn["TSTR AUC"]["value"],
        trtr=drawn["TRTR AUC"]["value"],
    )
    return f"{table(heads, rows)}\n\n{told}"


PLANS = {
    "en": (
        ["Virtual patients with type-1 diabetes whom no log knows", "time in 70 to 180 mg/dL %", "below 70 %"],
        {"adult": "adults", "adolescent": "adolescents", "child": "children"},
        {"basal-bolus": "basal-bolus", "Puji": "Puji's plan"},
        "{runs} days a row; meals announced with an error of {error:.0f} %. Learned from logs of other patients in {minutes:.0f}"
        " minutes; two weeks of the patient's own care tell how insulin and meals act.",
        " Survival in sepsis (ICU-Sepsis, exact) under plans learned from {sizes} logged episodes: {ours}; pessimistic value"
        " iteration {rival}, clinicians {usual}.",
    ),
    "zh": (
        ["训练记录中未出现过的 1 型糖尿病虚拟患者", "3.9~10.0 mmol/L（70~180 mg/dL）范围内时间 %", "低于 3.9 mmol/L %"],
        {"adult": "成人", "adolescent": "青少年", "child": "儿童"},
        {"basal-bolus": "基础-餐时方案", "Puji": "普及的方案"},
        "每行 {runs} 天；碳水化合物估算误差为 {error:.0f}%。用其他患者的诊疗记录训练 {minutes:.0f} 分钟；"
        "患者本人两周的治疗记录用于估计胰岛素和碳水化合物的作用。",
        "脓毒症（ICU-Sepsis，精确求解）：由 {sizes} 段诊疗记录学习的方案，生存率为 {ours}；"
        "悲观值迭代 {rival}，临床医生 {usual}。",
    ),
}


def plans(language: str) -> str:
    """The table of plans, in ``language``; '' where the suite has not run."""
    if common.read("diabetes") is None:
        return ""
    found = _results("diabetes")
    heads, groups, names, prose, more = PLANS[language]
    rows: list[list[str]] = []
    for group, called in groups.items():
        for name, shown in names.items():
            one = found["announced"]["rows"][name][group]
            rows.append(
                [
                    f"{called}, {shown}" if language == "en" else f"{called}，{shown}",
                    *(f"{one[key][0]:.1f}" for key in ("in_range", "below_70")),
                ]
            )
    told = prose.format(
        runs=found["runs"] // len(groups),
        error=100 * found["error"],
        minutes=found["model"]["seconds of processor time"] / 60,
    )
    if common.read("sepsis") is not None:
        told += _sepsis(more)
    return f"{table(heads, rows)}\n\n{told}"


def _sepsis(prose: str) -> str:
    results = _results("sepsis")

    def survival(name: str) -> str:
        rows = ([one[name] for one in results["rows"] if one["episodes"] == int(size)] for size in results["sizes"])
        return " / ".join(f"{mean(values):.3f}" for values in rows)

    sizes = " / ".join(f"{int(size):,}" for size in results["sizes"])
    usual = mean(one["clinician"] for one in results["rows"])
    told = {"ours": survival("Puji"), "rival": survival("pessimistic VI, c=0.1"), "usual": f"{usual:.3f}"}
    return prose.format(sizes=sizes, **told)


def _results(suite: str) -> Mapping[str, Any]:
    content = common.read(suite)
    if content is None:
        raise FileNotFoundError(f"the suite {suite} has not run: python -m benchmarks {suite}")
    found: Mapping[str, Any] = content["results"]
    return found


def page(language: str) -> str:
    """The whole README in ``language`` with its measured part as the results have it."""
    before, _, rest = PAGES[language].read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    parts = "\n\n".join(filter(None, (measured(language), timelines(language), images(language), plans(language))))
    return f"{before}{BEGIN}\n{parts}\n{END}{after}"


def write() -> None:
    """Bring both READMEs up to date."""
    for language, path in PAGES.items():
        path.write_text(page(language), "utf-8")
