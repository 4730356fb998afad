"""``puji list``, ``puji card`` and ``puji demo``: what there is, where weights come from, and what they can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from puji import registry
from puji.commands.fields import entries, summaries
from puji.commands.generate import chosen, load, model_option
from puji.commands.interface import PATH, SEED, Command, option
from puji.commands.output import FORMATS, check_folder, note, print_table, rows_to, shown
from puji.errors import Invalid
from puji.files import atomic_write, check_writable, refusal
from puji.language import current, label, translate
from puji.tables import flat


def list_command() -> Command:
    """``puji list``."""

    def run(form: str | None) -> None:
        import puji

        shipped = set(puji.shipped())
        with rows_to(None, form) as rows:
            for name, summary in summaries().items():
                rows.write({"modality": name, "weights": name in shipped, "summary": summary})

    return Command("list", "cli.list", run, [option("--format", "form", kind=FORMATS)])


def card_command(name: str) -> Command:
    """``puji card <name>``."""

    def run(model: Path | None) -> None:
        for key, value in flat(load(name, model).card):
            click.echo(f"{label(key, f'cli.card.{key}')}{translate('cli.colon')}{shown(value)}")
        note("cli.card_page", path=registry.folder_of(chosen(name, model)) / "README.md")

    return Command(name, "cli.card", run, [model_option()])


def demo_command() -> Command:
    """``puji demo``."""

    def run(out: Path, seed: int) -> None:
        demo(out, seed)

    return Command(
        "demo",
        "cli.demo",
        run,
        [
            option(
                "--out",
                kind=PATH,
                default="gallery",
                show_default=True,
                metavar="cli.metavar.folder",
                key="cli.option.out_demo",
            ),
            option("--seed", kind=SEED, default="0", show_default=True, metavar="cli.metavar.number"),
        ],
    )


def demo(out: Path, seed: int) -> None:
    """Let each shipped model show what it can do: tables on stdout, and one page with everything."""
    import puji
    from puji import gallery

    names = [name for name in puji.shipped() if name in entries()]
    if not names:
        raise Invalid("cli.no_weights")
    check_folder(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal(error, out) from error
    page = out / "index.html"
    check_writable(page)
    chapters = []
    for name in names:
        model: Any = puji.load(name)
        note("cli.demo_of", name=translate(f"{name}.name"))
        sections = gallery.demonstrate(model, seed)
        chapters.append(gallery.Chapter(name, model.card, sections))
        for section in sections:
            click.echo(f"\n{section.title.text(current())}")
            if section.table:
                print_table(section.rows(current()))
    atomic_write(page, gallery.page(chapters, current(), seed=seed))
    note("cli.written", path=page)
    note("cli.research_use")
