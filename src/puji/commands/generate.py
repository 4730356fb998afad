"""``puji generate``: new records, to the terminal, a pipe or a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from puji import registry
from puji.commands.fields import checked, field_options, modality_class, take_asked
from puji.commands.interface import COUNT, PATH, POSITIVE, SEED, SHARE, WHOLE, Command, option
from puji.commands.output import FORMATS, check_ending, ending, note, progress, rows_to
from puji.errors import Invalid
from puji.files import check_writable
from puji.language import translate

HELD = 50_000
"""Up to so many records are held in memory and counted; more are written one by one as they are made."""


def generate_command(name: str) -> Command:
    """``puji generate <name>``, with the modality's conditions as options."""

    def run(**values: Any) -> None:
        generate(name, take_asked(values), **values)

    return Command(
        name,
        "cli.generate",
        run,
        [
            option("-n", "--number", "n", kind=COUNT, default="10", show_default=True, metavar="cli.metavar.number"),
            *field_options(name, "Conditions"),
            option("--out", kind=PATH, metavar="cli.metavar.file", key="cli.option.out_records"),
            option("--format", "form", kind=FORMATS),
            option("--seed", kind=SEED, default="0", show_default=True, metavar="cli.metavar.number"),
            option("--temperature", kind=POSITIVE, default="1", show_default=True, metavar="cli.metavar.value"),
            option("--top-k", kind=WHOLE, metavar="cli.metavar.number"),
            option("--top-p", kind=SHARE, metavar="cli.metavar.value"),
            option("--unique", is_flag=True),
            option("--no-grammar", is_flag=True),
            option("--model", kind=PATH, metavar="cli.metavar.folder"),
        ],
    )


def load(name: str, folder: Path | None) -> Any:
    """The model of the modality ``name``: the shipped one, or that in ``folder``. Raises Invalid."""
    import puji

    modality_class(name)
    if folder is not None:
        registry.folder_of(folder)
    model = puji.load(name if folder is None else folder)
    if model.modality.name != name:
        raise Invalid("checkpoint.modality", source=str(folder), found=model.modality.name, asked=name)
    return model


def known_endings(modality: Any) -> list[str]:
    """File endings that a batch of ``modality`` can be saved in."""
    from puji.batch import endings

    return endings(modality)


def generate(
    name: str,
    asked: Mapping[str, Any],
    *,
    n: int,
    out: Path | None,
    form: str | None,
    model: Path | None,
    no_grammar: bool,
    **sampling: Any,
) -> None:
    """Generate and write; conditions and target are checked before anything slow begins."""
    modality = modality_class(name)
    conditions = checked(modality.Conditions, asked)
    if out is not None:
        check_ending(out, known_endings(modality))
        check_writable(out)
    loaded = load(name, model)
    options = {**sampling, "grammar": not no_grammar, "conditions": conditions}
    with progress("cli.generating", n) as advance:
        if n > HELD and (out is None or ending(out) in ("csv", "jsonl")) and form != "table":
            with rows_to(out, form or "csv") as rows:
                for row in streamed(loaded, n, options, advance):
                    rows.write(row)
            note("cli.generated", made=n, wanted=n)
        else:
            batch = loaded.generate(n, on_record=advance, **options)
            if out is not None:
                batch.save(out)
            else:
                with rows_to(None, form) as rows:
                    for row in batch.rows():
                        rows.write(row)
            tell(batch, n)
    if out is not None:
        note("cli.written", path=out)
    note("cli.research_use")


def streamed(model: Any, n: int, options: Mapping[str, Any], advance: Any) -> Iterator[dict[str, Any]]:
    """Rows of ``n`` records as they are made, without keeping them."""
    batch = model.empty_batch(options["seed"], options["conditions"])
    for one in model.stream(n, **options):
        advance()
        yield dataclasses.replace(batch, generated=[one]).rows()[0]


def tell(batch: Any, wanted: int) -> None:
    """Say on stderr how many records there are, what was refused and what a reader should know."""
    note("cli.generated", made=len(batch), wanted=wanted)
    refused = sorted(batch.refusals().items(), key=lambda item: -item[1])
    if refused:
        names = translate("cli.separator").join(
            f"{reason_text(batch, reason)} × {count}" for reason, count in refused[:5]
        )
        note("cli.refused", refused=sum(count for _, count in refused), attempts=batch.attempts, reasons=names)
    for remark in batch.notes:
        click.echo(translate("cli.note", text=remark.message()), err=True)


def reason_text(batch: Any, reason: str) -> str:
    """The message of the first refusal for ``reason``, without its place."""
    first = next(refusal for refusal in batch.rejected if refusal.reason == reason)
    return translate(reason, **first.details).rstrip(".。")
