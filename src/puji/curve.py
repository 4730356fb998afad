"""The loss curve of a training run as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from puji.figures import ACCENT, GREY, canvas, svg
from puji.language import translate


def loss_curve(log: Path, language: str | None = None) -> str:
    """Training and validation loss over minutes of training, from the log (JSON lines) of `train`: SVG text.

    ``language``: of the labels; default: the current one. Raises ValueError if the log holds no loss.
    """
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.endswith("}")]
    curves = {
        key: [(line["elapsed"] / 60, line[key]) for line in lines if line[key] is not None]
        for key in ("loss", "validation_loss")
    }
    if not curves["loss"]:
        raise ValueError(f"{log} holds no loss")
    with canvas() as figure:
        axes = figure.add_subplot()
        axes.plot(
            *zip(*curves["loss"], strict=True), color=GREY, linewidth=1, label=translate("fit.curve.training", language)
        )
        if curves["validation_loss"]:
            label = translate("fit.curve.validation", language)
            axes.plot(*zip(*curves["validation_loss"], strict=True), color=ACCENT, marker=".", label=label)
        axes.set_xlabel(translate("fit.curve.minutes", language))
        axes.set_ylabel(translate("fit.curve.loss", language))
        axes.legend()
        return svg(figure)
