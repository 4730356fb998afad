"""``puji fit`` and ``puji data``: training on one's own records, and bringing public data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from puji.commands.fields import checked, entries, field_options, modality_class, take_asked
from puji.commands.interface import (
    FOLDER,
    PARALLEL,
    POSITIVE,
    SEED,
    SHARE,
    TEXT,
    Argument,
    Command,
    Group,
    one_of,
    option,
    unknown,
)
from puji.commands.output import check_folder, exists, note
from puji.engine.sizes import SIZES
from puji.errors import Invalid
from puji.language import label, translate

FEW = 100
"""Training records below which a warning is due: of a tenth that is held out (the default) not ten are left to judge by."""


class Story:
    """What a training run tells, said on stderr: refused records always, the rest unless ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.untold = 0
        self.stopped = ""

    def tell(self, key: str, details: Mapping[str, Any]) -> None:
        """Say the message ``key``."""
        if key == "fit.refused":
            self.untold -= details["rows"]
            note("cli.refused_record", text=details["why"])
            return
        if key == "fit.read":
            self.untold = details["refused"]
        elif self.untold > 0:
            note("cli.refused_more", count=self.untold)
            self.untold = 0
        if key == "fit.done":
            self.stopped = details["why"]
            details = {**details, "why": label(self.stopped, f"fit.why.{self.stopped}")}
        if not self.quiet:
            note(key, **details)
        if key == "fit.read" and details["training"] < FEW:
            note("cli.note", text=translate("fit.few", **details))


def fit_command(name: str) -> Command:
    """``puji fit <name> --data FILE --out FOLDER``."""

    def run(threads: int | None, quiet: bool, out: Path, **options: Any) -> None:
        import puji

        check_folder(out)
        check_folder(out.with_name(f"{out.name}.run"))
        if options["data"] not in modality_class(name).datasets and not exists(Path(options["data"])):
            raise Invalid("data.missing", source=options["data"])
        setup = take_asked(options)
        checked(modality_class(name).Setup, setup)
        story = Story(quiet)
        try:
            puji.fit(
                name,
                setup=setup,
                out=out,
                settings={"progress": not quiet, "threads": threads},
                note=story.tell,
                **options,
            )
        except KeyboardInterrupt:
            story.stopped = "interrupted"
        else:
            click.echo(str(out))
        if story.stopped == "interrupted":
            from puji.training import begun

            note("fit.interrupted" if begun(out.with_name(f"{out.name}.run")) else "cli.interrupted")
            click.get_current_context().exit(130)

    return Command(
        name,
        "cli.fit",
        run,
        [
            option("--data", kind=TEXT, required=True, metavar="cli.metavar.file"),
            option("--out", kind=FOLDER, required=True, metavar="cli.metavar.folder", key="cli.option.out_fit"),
            option("--from", "base", kind=TEXT, metavar="cli.metavar.name_or_folder"),
            option("--minutes", kind=POSITIVE, metavar="cli.metavar.value"),
            option("--epochs", kind=POSITIVE, metavar="cli.metavar.value"),
            option("--size", kind=one_of(*SIZES)),
            option("--holdout", kind=SHARE, metavar="cli.metavar.value"),
            option("--workers", kind=PARALLEL, default="1", show_default=True, metavar="cli.metavar.number"),
            option("--resume", is_flag=True),
            option("--threads", kind=PARALLEL, metavar="cli.metavar.number"),
            option("--seed", kind=SEED, default="0", show_default=True, metavar="cli.metavar.number"),
            option("--quiet", is_flag=True),
            *field_options(name, "Setup"),
        ],
    )


def datasets() -> dict[str, Any]:
    """Name of each data set that a modality can bring -> the function that does."""
    found: dict[str, Any] = {}
    for name in entries():
        try:
            found.update(getattr(modality_class(name), "datasets", {}))
        except Invalid:
            continue
    return found


def get_command() -> Command:
    """``puji data get NAME``."""

    def run(name: str) -> None:
        known = datasets()
        if name not in known:
            raise unknown("cli.no_dataset", name, known)
        note("cli.bringing", name=name)
        click.echo(str(known[name]()))

    return Command("get", "cli.data_get", run, [Argument("name", "cli.metavar.name", "cli.argument.dataset")])


def data_list_command() -> Command:
    """``puji data list``."""

    def run() -> None:
        for name in datasets():
            click.echo(name)

    return Command("list", "cli.data_list", run, [])


def data_group() -> Group:
    """``puji data``."""
    made = {"get": get_command, "list": data_list_command}
    texts = {"get": "cli.data_get", "list": "cli.data_list"}
    return Group(
        "data", "cli.data", lambda: {name: translate(key) for name, key in texts.items()}, lambda name: made[name]()
    )
