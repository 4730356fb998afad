"""The loss curve of a training run as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def loss_curve(
    log: Path,
    target: Path,
    *,
    title: str = "",
    x: str = "minutes",
    y: str = "loss, nats per token",
    training: str = "training",
    validation: str = "validation",
    font: Path | None = None,
) -> None:
    """Draw training and validation loss over minutes of training, from the log (JSON lines) of `train` to ``target``.

    The ending of ``target`` says the format (.svg, .png, .pdf). The labels are the caller's, in any language; ``font`` is a
    font file that has their characters. Raises ValueError if the log holds no loss.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties

    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
    curves = {
        key: [(line["elapsed"] / 60, line[key]) for line in lines if line[key] is not None]
        for key in ("loss", "validation_loss")
    }
    if not curves["loss"]:
        raise ValueError(f"{log} holds no loss")
    style: dict[str, Any] = {"fontproperties": FontProperties(fname=str(font))} if font else {}
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(*zip(*curves["loss"], strict=True), color="0.6", linewidth=1, label=training)
    if curves["validation_loss"]:
        axes.plot(*zip(*curves["validation_loss"], strict=True), color="tab:blue", marker=".", label=validation)
    axes.set_xlabel(x, **style)
    axes.set_ylabel(y, **style)
    axes.set_title(title, **style)
    axes.grid(alpha=0.3)
    axes.legend(prop=style.get("fontproperties"), frameon=False)
    temporary = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        figure.savefig(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
