"""``puji generate``: new records, to the terminal, a pipe or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from puji import registry
from puji.commands.fields import checked, field_options, modality_class, take_asked
from puji.commands.interface import COUNT, PATH, POSITIVE, SEED, SHARE, WHOLE, Command, option
from puji.commands.output import (
    FORMATS,
    as_table,
    check_columns,
    check_out,
    columns_option,
    note,
    on_terminal,
    progress,
    rows_to,
)
from puji.errors import Invalid
from puji.language import has_text, translate
from puji.tables import TABLES


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
            out_records(name),
            option("--format", "form", kind=FORMATS),
            columns_option(),
            option("--seed", kind=SEED, default="0", show_default=True, metavar="cli.metavar.number"),
            option("--temperature", kind=POSITIVE, metavar="cli.metavar.value"),
            option("--top-k", kind=WHOLE, metavar="cli.metavar.number"),
            option("--top-p", kind=SHARE, metavar="cli.metavar.value"),
            option("--unique", is_flag=True),
            option("--no-grammar", is_flag=True),
            model_option(),
        ],
    )


def model_option() -> click.Option:
    """``--model``: a folder, or the name of a released model, instead of the shipped weights."""
    return option("--model", kind=PATH, metavar="cli.metavar.folder")


def out_records(name: str) -> click.Option:
    """``--out``, with the file endings of the modality's own formats where its catalogue has them."""
    key = f"{name}.formats"
    own = f"{translate(key)}{translate('cli.comma')}" if has_text(key) else ""
    text = translate("cli.option.out_records", own=own)
    return click.Option(["--out"], type=PATH, metavar=translate("cli.metavar.file"), help=text)


def load(name: str, folder: Path | None) -> Any:
    """The model of the modality ``name``: the shipped one, or that of `chosen`. Raises Invalid."""
    import puji

    modality_class(name)
    wanted = chosen(name, folder)
    registry.folder_of(wanted)
    model = puji.load(wanted)
    if model.modality.name != name:
        raise Invalid("checkpoint.modality", source=str(folder), found=model.modality.name, asked=name)
    return model


def chosen(name: str, folder: Path | None) -> str | Path:
    """The model that is meant: the released one of the modality ``name``, or what ``--model`` says: the folder where there is
    one, else the released model of that name (plans-diabetes)."""
    if folder is None:
        return name
    return folder if folder.is_dir() else str(folder)


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
    columns: tuple[str, ...] | None,
    model: Path | None,
    seed: int,
    no_grammar: bool,
    **how: Any,
) -> None:
    """Generate and write; conditions and target are checked before anything slow begins."""
    modality = modality_class(name)
    conditions = checked(modality.Conditions, asked)
    check_out(out, form, known_endings(modality))
    check_columns(columns, out, [ending for ending in TABLES if ending not in modality.formats])
    loaded = load(name, model)
    from puji.generation import Drawing

    batch = loaded.empty_batch(seed, conditions)
    for remark in batch.notes:
        note("cli.note", text=remark.message())
    visible = out is None and not as_table(out, form) and on_terminal()
    made = 0
    drawn = loaded.stream(n, batch, Drawing(grammar=not no_grammar, **how))
    # Closed at once also on an error, so that no thread draws on.
    with closing(drawn), sink(batch, out, form, columns) as take, progress("cli.generating", n, visible) as advance:
        for one in drawn:
            take(one)
            made += 1
            advance()
        if not made:
            raise batch.nothing()
    tell(batch, made, n)
    if out is not None:
        note("cli.written", path=out)
    note("cli.research_use")


@contextmanager
def sink(
    batch: Any, out: Path | None, form: str | None, columns: tuple[str, ...] | None
) -> Iterator[Callable[[Any], None]]:
    """What takes each record of ``batch``: rows are written as they come, other formats once all records are there."""
    ending = "" if out is None else out.suffix.lower()
    if out is None or (ending in TABLES and ending not in batch.modality.formats):
        with rows_to(out, form, batch.modality.name, columns) as rows:
            yield lambda one: rows.write(batch.row(one))
    else:
        yield batch.generated.append
        batch.save(out)


def tell(batch: Any, made: int, wanted: int) -> None:
    """Say on stderr how many records there are, and what was refused."""
    note("cli.generated", made=made, wanted=wanted)
    refused = sorted(batch.refusals().items(), key=lambda item: -item[1])
    if refused:
        names = translate("cli.separator").join(
            f"{reason_text(batch, reason)} × {count}" for reason, count in refused[:5]
        )
        note("cli.refused", refused=sum(count for _, count in refused), attempts=batch.attempts, reasons=names)


def reason_text(batch: Any, reason: str) -> str:
    """The message of the first refusal for ``reason``, without its place."""
    first = next(refusal for refusal in batch.rejected if refusal.reason == reason)
    return translate(reason, **first.details).rstrip(".。")
