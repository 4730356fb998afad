"""``puji predict``, ``explain`` and ``embed``: what the model says of records."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click

from puji.commands.fields import checked, field_options, modality_class, take_asked
from puji.commands.generate import load, model_option
from puji.commands.interface import PATH, SEED, Argument, Command, one_of, option
from puji.commands.output import (
    FORMATS,
    as_table,
    check_columns,
    check_out,
    columns_option,
    exists,
    form_of,
    note,
    rows_to,
    shown,
)
from puji.errors import Invalid
from puji.figures import ENDINGS, titled
from puji.files import atomic_write, whole
from puji.language import current, has_text, translate
from puji.tables import TABLES, united
from puji.units import shown as units_shown

SHOWN = 20
"""Refused records that are told one by one; all are counted."""


def out_options(own: str = "") -> list[click.Option]:
    """``--out`` and ``--format`` of a command whose result is a table; the message ``own`` names further file endings."""
    told = f"{translate('cli.comma')}{translate(own)}" if has_text(own) else ""
    text = translate("cli.option.out_table", own=told)
    return [
        click.Option(["--out"], type=PATH, metavar=translate("cli.metavar.file"), help=text),
        option("--format", "form", kind=FORMATS),
    ]


def input_argument(explanation: str = "cli.argument.input") -> Argument:
    """A file, or the record itself."""
    return Argument("given", "cli.metavar.input", explanation)


@dataclass(frozen=True)
class Given:
    """A record, and where and as what it was given: file and line ('' and None on the command line), first line of text."""

    record: Any
    source: str = ""
    line: int | None = None
    text: str = ""

    @classmethod
    def read(cls, record: Any, raw: Any) -> Given:
        """``record``, which ``raw`` held."""
        first = raw.content.splitlines()[:1] if isinstance(raw.content, str) else []
        # A file name may be no proper text.
        source = str(raw.source).encode("utf-8", "backslashreplace").decode("utf-8")
        return cls(record, source, raw.line, "".join(first).strip())

    def row(self, modality: Any) -> dict[str, Any]:
        """The columns by which a result is matched with what was given."""
        return {"source": self.source, "line": self.line, "given": self.text, "record": modality.beside(self.record)}


def records_of(model: Any, given: str) -> Iterator[Given | Invalid]:
    """The record that ``given`` is, or those in the file or folder that it names; what is refused as Invalid."""
    path = Path(given)
    if exists(path):
        for raw in model.modality.read(path):
            try:
                yield raw if isinstance(raw, Invalid) else Given.read(model.record(raw), raw)
            except Invalid as refusal:
                yield refusal.at(raw.source, raw.line)
        return
    try:
        yield Given(model.record(given), text=given)
    except Invalid as refusal:
        if "/" in given or path.suffix[1:].isalnum():
            raise Invalid("cli.no_file", source=given[:80], why=refusal.message()) from refusal
        raise


def draws_answers(name: str) -> bool:
    """Whether the modality draws what it predicts."""
    from puji.modality import Modality

    return modality_class(name).render_answer is not Modality.render_answer


def draw_answer(model: Any, found: Iterator[tuple[Given, Any]], ask: Any, out: Path) -> None:
    """Write the picture of the first answer of ``found``; says so if there are more."""
    first = next(found, None)
    if first is None:
        return
    one, answer = first
    pictures = model.modality.render_answer(model.modality.evidence(one.record, ask), answer)
    picture = next(content for mime, content in pictures.items() if ENDINGS[mime] == out.suffix.lower())
    if isinstance(picture, str):  # what a reader must know goes where the picture goes
        picture = titled(picture, [translate(key) for key in answer.notes])
    atomic_write(out, picture)
    if next(found, None) is not None:
        note("cli.first_only", place=f"{one.source}:{one.line}")
    tell_notes(model.modality.name, answer)


def answers(model: Any, given: str, ask: Any, seed: int) -> Iterator[tuple[Given, Any] | Invalid]:
    """Each record of `records_of` with its answer; one of a file that cannot be asked (a patient who died) as Invalid."""
    for one in records_of(model, given):
        if isinstance(one, Invalid):
            yield one
            continue
        try:
            yield one, model.predict(one.record, ask, seed=seed)
        except Invalid as refusal:
            if not one.source or refusal.source:  # an option is wrong for all of them
                raise
            yield refusal.at(one.source, one.line)


class Refused:
    """Counts refused records and tells the first ones on stderr."""

    def __init__(self) -> None:
        self.count = self.told = 0
        self.taken = 0

    def sift(self, outcomes: Iterator[Any]) -> Iterator[Any]:
        """The records among ``outcomes``."""
        for outcome in outcomes:
            if isinstance(outcome, Invalid):
                self.told += 1
                self.count += outcome.details.get("rows", 1)
                if self.told <= SHOWN:
                    note("cli.refused_record", text=outcome.message())
            else:
                self.taken += 1
                yield outcome

    def close(self) -> None:
        """Say how many were refused. Raises Invalid if nothing else was there."""
        if self.count:
            note("cli.refused_records", refused=self.count, taken=self.taken)
        if not self.taken:
            raise Invalid("cli.nothing_read")


def predict_command(name: str) -> Command:
    """``puji predict <name> INPUT``, with what may be asked as options."""

    def run(
        given: str,
        out: Path | None,
        form: str | None,
        columns: tuple[str, ...] | None,
        seed: int,
        model: Path | None,
        **values: Any,
    ) -> None:
        ask = checked(modality_class(name).Ask, take_asked(values))
        pictures = tuple(ENDINGS.values()) if draws_answers(name) else ()
        own = modality_class(name).answer_formats
        check_out(out, form, (*TABLES, *own, *pictures))
        check_columns(columns, out)
        loaded = load(name, model)
        refused = Refused()
        found = refused.sift(answers(loaded, given, ask, seed))
        ending = "" if out is None else out.suffix.lower()
        if out is not None and ending in pictures:
            draw_answer(loaded, found, ask, out)
            refused.close()
        elif out is not None and ending in own:
            seen = loaded.modality.evidence
            with whole(out) as path, path.open("w", encoding="utf-8") as stream:
                pairs = ((seen(one.record, ask), answer) for one, answer in found)
                stream.writelines(loaded.modality.tell_answers(pairs, out))
                refused.close()
        else:
            alone, kept, silent = None, [], 0
            streamed = columns is None and form_of(out, form) == "jsonl"
            with rows_to(out, form, name, columns) as rows:
                for one, answer in found:
                    row = answer_row(loaded.modality, one, answer)
                    silent += not answer.estimates
                    if streamed:  # each line tells its own columns
                        rows.write(row)
                    elif not as_table(out, form):
                        kept.append(row)
                    elif one.source:
                        kept.append(brief(row, answer))
                    else:
                        click.echo(f"{translate('cli.column.record')}  {shown(row['record'], name, 'record')}")
                        kept += estimate_rows(name, answer)
                        alone = one.record, answer
                for row in united(kept):  # what is estimated may differ from record to record
                    rows.write(row)
                refused.close()
            if alone is not None:
                for text in loaded.modality.remarks(*alone):
                    click.echo(text)
                tell_notes(name, alone[1])
            elif silent:
                note("cli.silent", silent=silent, total=refused.taken)
        if out is not None:
            note("cli.written", path=out)
        note("cli.research_use")

    params = [
        *(input_argument(), *field_options(name, "Ask"), *out_options(f"{name}.answer_formats")),
        columns_option(),
        option(
            "--seed",
            kind=SEED,
            default="0",
            show_default=True,
            metavar="cli.metavar.number",
            key="cli.option.seed_predict",
        ),
        model_option(),
    ]
    return Command(name, "cli.predict", run, params)


def tell_notes(name: str, answer: Any) -> None:
    """Say on stderr what a reader of ``answer`` should know."""
    shares = {estimate.coverage for estimate in answer.estimates.values()}
    if len(shares) == 1 and (share := shares.pop()) < 1:
        own = f"{name}.interval"
        note(own if has_text(own) else "cli.interval", share=f"{share:.0%}")
    for key in answer.notes:
        note("cli.note", text=translate(key))


def answer_row(modality: Any, one: Given, answer: Any) -> dict[str, Any]:
    """One table row: where the record stood, the record, each estimate with its interval, how familiar the record is."""
    row = one.row(modality)
    for name, estimate in answer.estimates.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        if estimate.about is not None:
            row[f"{name}_about"] = estimate.about
    notes = " ".join([*modality.remarks(one.record, answer), *(translate(key) for key in answer.notes)])
    return {**row, "log_likelihood": answer.log_likelihood, "familiar": answer.familiar, "notes": notes}


def brief(row: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """``row`` for the terminal: what was asked comes first, beside what it refers to; a record is cut to half of the width."""
    record, room = str(row["record"]), shutil.get_terminal_size().columns // 2
    asked, told = [], None
    for name, estimate in answer.estimates.items():
        if estimate.about is not None and estimate.about != told:  # of several horizons the first says it
            told = estimate.about
            asked.append(f"{name}_about")
        asked.append(name)
    first = {name: row[name] for name in ("line", "record", "familiar", *asked)}
    return {**first, **row, "record": record if len(record) <= room else f"{record[: room - 1]}…"}


def estimate_rows(name: str, answer: Any) -> Iterator[dict[str, Any]]:
    """One table row per estimate, for people who asked about one record; what none of them has is no column."""
    referring = any(estimate.about is not None for estimate in answer.estimates.values())
    units = {key: units_shown(estimate.unit, current()) for key, estimate in answer.estimates.items()}
    for key, estimate in answer.estimates.items():
        told = modality_class(name).wording("predicted", key).text(current())
        value = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        unit = {"unit": units[key]} if any(units.values()) else {}
        yield {"predicted": told, **({"about": estimate.about} if referring else {}), **value, **unit}


def explain_command(name: str) -> Command:
    """``puji explain <name> INPUT --target ...``."""

    def run(given: str, target: str, method: str, out: Path | None, form: str | None, model: Path | None) -> None:
        check_out(out, form, (*ENDINGS.values(), *TABLES))
        loaded = load(name, model)
        refused = Refused()
        records = list(islice(refused.sift(records_of(loaded, given)), 2))
        if not records:
            refused.close()
        one = records[0]
        try:
            loaded.modality.evidence(one.record, loaded.modality.Ask())
        except Invalid as refusal:  # it cannot be asked about at all
            raise refusal.at(one.source, one.line) from refusal
        try:
            loaded.modality.target(one.record, target)
        except Invalid as refusal:
            raise Invalid(refusal.reason, source="--target", **refusal.details) from refusal  # whatever else asks so
        explanation = loaded.explain(one.record, target=target, method=method)
        if out is not None:
            explanation.save(out)
            note("cli.written", path=out)
        else:
            with rows_to(None, form, name) as rows:
                for row in explanation.rows():
                    rows.write(row)
        if len(records) > 1:
            note("cli.first_only", place=f"{one.source}:{one.line}")
        note("cli.explained", target=explanation.aim(), value=f"{explanation.value:.4g}")
        if method == "integrated_gradients" and explanation.completeness_error is not None:
            note("cli.completeness", error=f"{explanation.completeness_error:.2g}")
        if loaded.familiar(one.record) is False:
            note("predict.unfamiliar")
        note("cli.research_use")

    methods = one_of("integrated_gradients", "occlusion", "leave_one_out")
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
        check_out(out, form, (*TABLES, ".npy"))
        loaded = load(name, model)
        refused = Refused()
        records = list(refused.sift(records_of(loaded, given)))
        refused.close()
        vectors = loaded.embed([one.record for one in records])
        if out is not None and out.suffix.lower() == ".npy":
            import numpy as np

            with whole(out) as path, path.open("wb") as stream:
                np.save(stream, vectors, allow_pickle=False)
        else:
            with rows_to(out, form) as rows:
                for one, vector in zip(records, vectors, strict=True):
                    cells = {f"e{place}": float(value) for place, value in enumerate(vector)}
                    rows.write({**one.row(loaded.modality), **cells})
        if out is not None:
            note("cli.written", path=out)

    option_out = option("--out", kind=PATH, metavar="cli.metavar.file", key="cli.option.out_embed")
    return Command(name, "cli.embed", run, [input_argument(), option_out, out_options()[1], model_option()])
