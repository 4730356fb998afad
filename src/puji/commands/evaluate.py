"""``puji evaluate``: the field's benchmark on samples from anywhere, or what a model's predictions are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from puji.commands.fields import checked, field_options, modality_class, take_asked, typed_as
from puji.commands.generate import load, model_option
from puji.commands.interface import Argument, Command, option
from puji.commands.judge import Refused, out_options, records_of
from puji.commands.output import as_table, check_out, exists, note, progress, rows_to
from puji.errors import Invalid
from puji.files import atomic_write
from puji.language import Text, current, has_text, translate
from puji.tables import TABLES

if TYPE_CHECKING:
    from puji.modality import Assessment, Raw

FEW = 10_000
"""Samples below which a figure that falls or rises with their number is told with a caution, where there is one."""


def evaluate_command(name: str) -> Command:
    """``puji evaluate <name> FILE``: the field's benchmark on samples from anywhere, or what a model predicts of records."""

    def run(given: str, reference: tuple[str, ...], out: Path | None, form: str | None, **values: Any) -> None:
        predictions, model = values.pop("predictions"), values.pop("model")
        asked = take_asked(values)
        check_out(out, form, (*TABLES, ".html"))
        if predictions:
            if reference:
                raise Invalid("cli.together", first="--predictions", second="--reference")
            ask = checked(modality_class(name).Ask, asked)
            found, card = predicted(name, given, load(name, model), ask)
        elif asked or model:
            first = typed_as(next(iter(asked))) if asked else "--model"
            raise Invalid("cli.needs", option=first, needed="--predictions")
        else:
            found, card = benchmark(name, given, reference), {}
        if out is not None and out.suffix.lower() == ".html":
            atomic_write(out, report(name, found, card))
        else:
            with rows_to(out, form, name) as rows:
                for key, metric in found.metrics.items():
                    told = heading(name, key).text(current()) if as_table(out, form) else key
                    rows.write(metric_row(told, metric))
        tell_verdict(modality_class(name)().verdict(found.metrics))
        for text in cautions(name, found.metrics):
            note("cli.note", text=text)
        if out is not None:
            note("cli.written", path=out)

    return Command(
        name,
        "cli.evaluate",
        run,
        [
            Argument("given", "cli.metavar.file", "cli.argument.samples"),
            option("--reference", multiple=True, metavar="cli.metavar.named_file"),
            option("--predictions", is_flag=True),
            *field_options(name, "Ask"),
            *out_options("cli.report_format"),
            model_option(),
        ],
    )


def benchmark(name: str, given: str, reference: tuple[str, ...]) -> Assessment:
    """The field's benchmark of the samples in the file ``given``."""
    from puji.modality import Assessment

    modality = modality_class(name)()
    named = [named_file(text) for text in reference]
    samples = contents(modality, Path(given))
    references = {key: contents(modality, path) for key, path in named}
    if not references and has_text(f"{name}.evaluate.note"):
        note(f"{name}.evaluate.note")
    with progress("cli.evaluating") as step:
        found = modality.metrics(samples, references, step)
    return Assessment(found, lambda: modality.compare(samples, references))


def predicted(name: str, given: str, model: Any, ask: Any) -> tuple[Assessment, Mapping[str, Any]]:
    """What ``model`` predicts of the records in the file ``given``, and the model's card."""
    if not exists(Path(given)):
        raise Invalid("data.missing", source=given[:80])
    refused = Refused()
    records = [one.record for one in refused.sift(records_of(model, given))]
    refused.close()
    with progress("cli.evaluating") as step:
        return model.modality.assess(model, records, ask, step), model.card


def report(name: str, found: Assessment, card: Mapping[str, Any]) -> str:
    """One HTML page of an evaluation."""
    from puji import gallery
    from puji.gallery import Chapter, Section

    columns = ("metric", "value", "low", "high", "n")
    rows = [
        {column: metric_row(heading(name, key), one)[column] for column in columns}
        for key, one in found.metrics.items()
    ]
    heads = {column: Text(f"cli.column.{column}") for column in columns}
    sections = [
        *modality_class(name)().verdict(found.metrics),
        Section(Text("report.figures"), Text("report.interval"), table=rows, columns=heads),
    ]
    if pictures := found.figures():
        sections.append(Section(Text("report.pictures"), None, pictures))
    return gallery.page([Chapter(name, card, sections)], current(), kind="report")


def tell_verdict(sections: Sequence[Any]) -> None:
    """Say on stderr what the figures mean: the title of each section, each row of its table, its note."""
    for section in sections:
        click.echo(section.title.text(current()), err=True)
        for row in section.rows(current()):
            click.echo("  " + translate("cli.colon").join(map(str, row.values())), err=True)
        if section.note is not None:
            click.echo("  " + section.note.text(current()), err=True)


def cautions(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """What to know of figures of few samples: the messages ``<name>.few.<metric>``, each once."""
    found = {}
    for key, metric in metrics.items():
        text = f"{name}.few.{key.partition('/')[0].lower()}"
        if metric.n < FEW and has_text(text):
            found[text] = translate(text, n=metric.n)
    return list(found.values())


def named_file(text: str) -> tuple[str, Path]:
    """``train=train.csv`` -> ("train", the path)."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise Invalid("cli.not_named_file", option="--reference", value=text)
    return name, Path(path)


def contents(modality: Any, path: Path) -> list[Raw | Invalid]:
    """What the file ``path`` holds, not cleaned; what cannot be read is told. Raises Invalid if nothing else is there."""
    if not exists(path):
        raise Invalid("data.missing", source=str(path))
    found = list(modality.read(path))
    refused = Refused()
    if not [raw for raw in refused.sift(iter(found)) if raw.content]:
        raise Invalid("cli.nothing_read", source=str(path))
    refused.close()
    return found


def heading(name: str, metric: str) -> Text:
    """The name of a metric for people: each of its parts, which commas divide, by the message ``<name>.metric.<part>``."""
    first, comma, rest = metric.partition(", ")
    told = modality_class(name).wording("metric", first)
    return Text("report.metric_of", {"what": told, "rest": heading(name, rest)}) if comma else told


def metric_row(key: str | Text, metric: Any) -> Mapping[str, Any]:
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
