"""``puji predict``, ``explain``, ``embed`` and ``evaluate``: what the model or the field's benchmark says of records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from puji.commands.fields import checked, field_options, modality_class, take_asked
from puji.commands.generate import load
from puji.commands.interface import PATH, Argument, Command, has_text, one_of, option
from puji.commands.output import FORMATS, TABLES, as_table, check_ending, note, rows_to
from puji.errors import Invalid
from puji.files import check_writable, whole
from puji.language import translate

SHOWN = 20
"""Refused records that are told one by one; all are counted."""


def out_options() -> list[click.Option]:
    """``--out`` and ``--format`` of a command whose result is a table."""
    return [
        option("--out", kind=PATH, metavar="cli.metavar.file", key="cli.option.out_table"),
        option("--format", "form", kind=FORMATS),
    ]


def model_option() -> click.Option:
    """``--model``: a folder instead of the shipped weights."""
    return option("--model", kind=PATH, metavar="cli.metavar.folder")


def input_argument(explanation: str = "cli.argument.input") -> Argument:
    """A file, or the record itself."""
    return Argument("given", "cli.metavar.input", explanation)


def records_of(model: Any, given: str) -> Iterator[Any]:
    """The record that ``given`` is, or those in the file or folder that it names; what is refused as Invalid."""
    path = Path(given)
    try:
        is_path = path.exists()
    except OSError:
        is_path = False
    if is_path:
        yield from model.read(path)
        return
    try:
        yield model.record(given)
    except Invalid as refusal:
        if "/" in given or path.suffix[1:].isalnum():
            raise Invalid("cli.no_file", source=given[:80], why=refusal.message()) from refusal
        raise


class Refused:
    """Counts refused records and tells the first ones on stderr."""

    def __init__(self) -> None:
        self.count = 0
        self.taken = 0

    def sift(self, outcomes: Iterator[Any]) -> Iterator[Any]:
        """The records among ``outcomes``."""
        for outcome in outcomes:
            if isinstance(outcome, Invalid):
                self.count += 1
                if self.count <= SHOWN:
                    note("cli.refused_record", text=outcome.message())
            else:
                self.taken += 1
                yield outcome

    def close(self) -> None:
        """Say how many were refused. Raises Invalid if nothing else was there."""
        if self.count:
            note("cli.refused_records", refused=self.count, total=self.count + self.taken)
        if not self.taken:
            raise Invalid("cli.nothing_read")


def check_out(out: Path | None, known: tuple[str, ...] = TABLES) -> None:
    """Raise Invalid now if ``out`` could not be written later."""
    if out is not None:
        check_ending(out, known)
        check_writable(out)


def predict_command(name: str) -> Command:
    """``puji predict <name> INPUT``, with what may be asked as options."""

    def run(given: str, out: Path | None, form: str | None, model: Path | None, **values: Any) -> None:
        ask = checked(modality_class(name).Ask, take_asked(values))
        check_out(out)
        loaded = load(name, model)
        refused = Refused()
        with rows_to(out, form) as rows:
            for record in refused.sift(records_of(loaded, given)):
                answer = loaded.predict(record, ask)
                if as_table(out, form) and not Path(given).exists():
                    for row in estimate_rows(name, answer):
                        rows.write(row)
                    for key in answer.notes:
                        note("cli.note", text=translate(key))
                else:
                    rows.write(answer_row(loaded, record, answer))
            refused.close()
        if out is not None:
            note("cli.written", path=out)
        note("cli.research_use")

    params = [input_argument(), *field_options(name, "Ask"), *out_options(), model_option()]
    return Command(name, "cli.predict", run, params)


def answer_row(model: Any, record: Any, answer: Any) -> dict[str, Any]:
    """One table row: the record, then each estimate with its interval, and how familiar the record is."""
    shown = model.modality.dump(record)
    row: dict[str, Any] = {"record": shown if len(shown) <= 200 else f"{shown[:199]}…"}
    for name, estimate in answer.estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    notes = " ".join(translate(key) for key in answer.notes)
    return {**row, "log_likelihood": answer.log_likelihood, "familiar": answer.familiar, "notes": notes}


def estimate_rows(name: str, answer: Any) -> Iterator[dict[str, Any]]:
    """One table row per estimate, for people who asked about one record."""
    columns = [translate(f"cli.column.{column}") for column in ("name", "value", "low", "high", "unit")]
    for key, estimate in answer.estimates.items():
        label = f"{name}.conditions.{key}.label"
        shown = translate(label) if has_text(label) else key
        cells = (shown, estimate.value, estimate.low, estimate.high, estimate.unit)
        yield dict(zip(columns, cells, strict=True))


def explain_command(name: str) -> Command:
    """``puji explain <name> INPUT --target ...``."""

    def run(given: str, target: str, method: str, out: Path | None, form: str | None, model: Path | None) -> None:
        check_out(out, ("svg", "png", *TABLES))
        loaded = load(name, model)
        found = next((item for item in records_of(loaded, given) if not isinstance(item, Invalid)), None)
        if found is None:
            raise Invalid("cli.nothing_read")
        explanation = loaded.explain(found, target=target, method=method)
        if out is not None:
            explanation.save(out)
            note("cli.written", path=out)
        else:
            with rows_to(None, form) as rows:
                for row in explanation.rows():
                    rows.write(row)
        note("cli.explained", target=target, value=f"{explanation.value:.4g}")
        if explanation.completeness_error is not None:
            note("cli.completeness", error=f"{explanation.completeness_error:.2g}")
        note("cli.research_use")

    methods = one_of("integrated_gradients", "occlusion")
    return Command(
        name,
        "cli.explain",
        run,
        [
            input_argument(),
            option("--target", required=True, metavar="cli.metavar.name"),
            option("--method", kind=methods, default="integrated_gradients", show_default=True),
            option("--out", kind=PATH, metavar="cli.metavar.file", key="cli.option.out_explain"),
            option("--format", "form", kind=FORMATS),
            model_option(),
        ],
    )


def embed_command(name: str) -> Command:
    """``puji embed <name> INPUT``: a vector for each record."""

    def run(given: str, out: Path | None, form: str | None, model: Path | None) -> None:
        check_out(out, (*TABLES, "npy"))
        loaded = load(name, model)
        refused = Refused()
        records = list(refused.sift(records_of(loaded, given)))
        refused.close()
        vectors = loaded.embed(records)
        if out is not None and out.suffix.lower() == ".npy":
            import numpy as np

            with whole(out) as path, path.open("wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
        else:
            with rows_to(out, form) as rows:
                for record, vector in zip(records, vectors, strict=True):
                    cells = {f"e{place}": float(value) for place, value in enumerate(vector)}
                    rows.write({"record": loaded.modality.dump(record), **cells})
        if out is not None:
            note("cli.written", path=out)

    option_out = option("--out", kind=PATH, metavar="cli.metavar.file", key="cli.option.out_embed")
    return Command(name, "cli.embed", run, [input_argument(), option_out, out_options()[1], model_option()])


def evaluate_command(name: str) -> Command:
    """``puji evaluate <name> FILE``: the field's benchmark on a file of samples from anywhere."""

    def run(given: str, reference: tuple[str, ...], out: Path | None, form: str | None) -> None:
        check_out(out)
        modality = modality_class(name)()
        named = [named_file(text) for text in reference]
        samples = contents(modality, Path(given))
        references = {key: contents(modality, path) for key, path in named}
        if not references and has_text(f"{name}.evaluate.note"):
            note(f"{name}.evaluate.note")
        with rows_to(out, form) as rows:
            for key, metric in modality.metrics(samples, references).items():
                rows.write(metric_row(key, metric))
        if out is not None:
            note("cli.written", path=out)

    reference = option("--reference", multiple=True, metavar="cli.metavar.named_file")
    given = Argument("given", "cli.metavar.file", "cli.argument.samples")
    return Command(name, "cli.evaluate", run, [given, reference, *out_options()])


def named_file(text: str) -> tuple[str, Path]:
    """``train=train.csv`` -> ("train", the path)."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise Invalid("cli.not_named_file", option="--reference", value=text)
    return name, Path(path)


def contents(modality: Any, path: Path) -> list[str]:
    """What the file ``path`` holds, not cleaned; a sample that cannot even be read counts as an empty, invalid one."""
    if not path.exists():
        raise Invalid("data.missing", source=str(path))
    found = ["" if isinstance(raw, Invalid) else str(raw.content) for raw in modality.read(path)]
    if not any(found):
        raise Invalid("cli.nothing_read", source=str(path))
    return found


def metric_row(key: str, metric: Any) -> Mapping[str, Any]:
    """One table row of a metric; the arrow says which way is better."""
    arrow = {"up": "↑", "down": "↓"}.get(metric.better, "")
    return {
        "metric": key,
        "value": metric.value,
        "better": arrow,
        "low": metric.low,
        "high": metric.high,
        "n": metric.n,
    }
