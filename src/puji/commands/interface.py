"""Click, in English and Chinese: help pages, option types and complaints come from the message catalogues.

Nothing here imports more than Click and the catalogues, so that ``--help`` is instant.
"""

from __future__ import annotations

import difflib
import os
import shutil
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from puji.errors import Invalid
from puji.language import has_text, translate

MOST = 10_000_000
"""The most records that one command generates."""
MOST_PARALLEL = max(64, 2 * (os.cpu_count() or 1))
"""The most threads or processes that one command uses."""
ASKED = "asked_"
"""Options that are fields of a modality's Conditions or Ask are kept under names that begin so."""
TYPED = "puji.typed"
"""Key in a Click context under which each option's name stands as the person wrote it."""


def width(text: str) -> int:
    """Columns that ``text`` takes in a terminal: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def wrap(text: str, columns: int) -> list[str]:
    """``text`` in lines of at most ``columns``; between Chinese characters a line may end anywhere but before 。，）."""
    if width(text) == len(text):
        return textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False) or [""]
    lines, line, word = [], "", ""
    for character in [*text, " "]:
        wide = width(character) == 2
        if not wide and character != " ":
            word += character
            continue
        if line and width(line + word) > columns:
            lines.append(line.rstrip())
            line = ""
        line += word
        word = ""
        if width(line + character) > columns and character not in "。，、；：）」？ ":
            lines.append(line.rstrip())
            line = ""
        line += character if line or character != " " else ""
    return [*lines, line.rstrip()] if line.strip() else lines


def columns(rows: Sequence[tuple[str, str]], page: int) -> list[str]:
    """``rows`` of (name, text) in two aligned columns, indented by two."""
    left = min(max((width(name) for name, _ in rows), default=0), 30)
    lines = []
    for name, text in rows:
        body = wrap(text, max(24, page - left - 5))
        if width(name) > left:
            lines += [f"  {name}", *(" " * (left + 5) + line for line in body if line)]
            continue
        lines.append(f"  {name}{' ' * (left - width(name))}   {body[0] if body else ''}".rstrip())
        lines += [" " * (left + 5) + line for line in body[1:]]
    return lines


def closest(word: str, known: Iterable[str]) -> str:
    """The name in ``known`` that was probably meant, or ''."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def unknown(reason: str, word: str, known: Iterable[str], **details: Any) -> Invalid:
    """A refusal of ``word``, with what was probably meant and what there is."""
    names = sorted(known)
    meant = closest(word, names)
    hint = translate("cli.did_you_mean", name=meant) if meant else ""
    if names and not meant:
        hint = translate("cli.there_are", names=", ".join(names))
    return Invalid(reason, name=word, hint=hint, **details)


class Typed(click.ParamType):  # type: ignore[type-arg]
    """A value read by ``convert_text``, which raises ValueError if it cannot; the refusal ``reason`` names the option.

    ``known``: what the refusal says there is to choose from. An empty value is refused whatever the type.
    """

    def __init__(self, name: str, convert_text: Callable[[str], Any], reason: str, known: str = "") -> None:
        self.name = name
        self.convert_text = convert_text
        self.reason = reason
        self.known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``value`` as the command wants it."""
        if not isinstance(value, str):
            return value
        option = option_name(param, ctx) if param else self.name
        if not value.strip():
            raise Invalid("cli.empty", option=option)
        try:
            return self.convert_text(value)
        except ValueError as error:
            raise Invalid(self.reason, option=option, value=value[:80], known=self.known) from error


def _number(check: Callable[[float], bool], convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = convert(text)
        if not check(value):
            raise ValueError(text)
        return value

    return read


COUNT = Typed("count", _number(lambda value: 1 <= value <= MOST, int), "cli.not_a_count")
WHOLE = Typed("whole", _number(lambda value: value >= 1, int), "cli.not_whole")
SEED = Typed("seed", _number(lambda value: 0 <= value < 2**63, int), "cli.not_a_seed")
POSITIVE = Typed("positive", _number(lambda value: 0 < value < float("inf"), float), "cli.not_positive")
SHARE = Typed("share", _number(lambda value: 0 < value <= 1, float), "cli.not_a_share")
PARALLEL = Typed(
    "parallel", _number(lambda value: 1 <= value <= MOST_PARALLEL, int), "cli.not_up_to", f"{MOST_PARALLEL}"
)
PATH = Typed("path", Path, "cli.not_a_path")
TEXT = Typed("text", str, "cli.empty")


def _new_folder(text: str) -> Path:
    path = Path(text)
    if path.name in ("", ".."):
        raise ValueError(text)
    return path


FOLDER = Typed("folder", _new_folder, "cli.not_a_new_folder")


class Argument(click.Argument):
    """A positional argument, not empty, that is explained on the help page."""

    def __init__(self, name: str, metavar: str, explanation: str, kind: Typed = TEXT) -> None:
        super().__init__([name], metavar=translate(metavar), type=kind)
        self.explanation = translate(explanation)


def one_of(*names: str) -> Typed:
    """A type whose values are ``names``."""

    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return Typed("|".join(names), read, "cli.not_a_choice", ", ".join(names))


def option_name(parameter: click.Parameter, ctx: click.Context | None = None) -> str:
    """How people write ``parameter``: ``--logp``, as it was written on the line of ``ctx``; or an argument's placeholder."""
    if isinstance(parameter, click.Option):
        typed: dict[str, str] = ctx.meta.get(TYPED, {}) if ctx else {}
        return typed.get(parameter.name or "") or max(parameter.opts, key=len)
    return parameter.metavar or parameter.name or ""


def option(*names: str, kind: Typed | None = None, key: str = "", metavar: str = "", **attributes: Any) -> click.Option:
    """An option explained by the message ``key`` (default: ``cli.option.<name>``) with a translated placeholder."""
    name = max(names, key=len).lstrip("-").replace("-", "_").split("/")[0]
    text = translate(key or f"cli.option.{name}")
    if metavar:
        attributes["metavar"] = translate(metavar)
    elif kind is not None and "|" in kind.name:
        attributes["metavar"] = kind.name
    return click.Option(list(names), type=kind, help=text, **attributes)


class Bilingual:
    """The help page and the parsing that commands and groups share. ``key`` names the texts of the page."""

    key: str
    name: str | None

    def page(self, ctx: click.Context) -> str:
        """The whole help page."""
        command: Any = self
        size = min(shutil.get_terminal_size().columns, 100)
        blocks = [[f"{translate('cli.help.usage')}{ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"]]
        blocks.append(wrap(translate(self.key), size))
        arguments = [item for item in command.params if isinstance(item, Argument)]
        if arguments:
            rows = [(item.metavar or "", item.explanation) for item in arguments]
            blocks.append([translate("cli.help.arguments"), *columns(rows, size)])
        blocks += command.sections(ctx, size)
        asked = [item for item in command.params if str(item.name).startswith(ASKED)]
        if asked:
            blocks.append([translate("cli.help.asked"), *columns(option_rows(asked), size)])
        others = option_rows([item for item in command.params if item not in asked])
        blocks.append(
            [translate("cli.help.options"), *columns([*others, ("--help", translate("cli.option.help"))], size)]
        )
        if has_text(f"{self.key}.more"):
            text = translate(f"{self.key}.more")
            blocks.append(
                [part for line in text.split("\n") for part in (wrap(line, size) if line[:1] != " " else [line])]
            )
        return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def option_rows(parameters: Iterable[click.Parameter]) -> list[tuple[str, str]]:
    """How the options among ``parameters`` are written, and what they do."""
    rows = []
    for parameter in parameters:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        names = ", ".join(sorted(parameter.opts, key=len) if len(parameter.opts[0]) == 2 else parameter.opts)
        if not parameter.is_flag:
            names += f" {parameter.metavar or translate('cli.metavar.value')}"
        text = parameter.help or ""
        if parameter.show_default and isinstance(parameter.default, str | int | float):
            text += translate("cli.help.default", value=parameter.default)
        rows.append((names, text))
    return rows


class Command(Bilingual, click.Command):
    """A command whose texts are the messages ``key`` (what it does) and, if there is one, ``key.more`` (examples)."""

    def __init__(self, name: str, key: str, run: Callable[..., Any], params: Sequence[click.Parameter]) -> None:
        super().__init__(
            name, callback=run, params=list(params), add_help_option=True, context_settings={"allow_extra_args": True}
        )
        self.key = key

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line, and keep by which of its names each option was called."""
        words = {word.partition("=")[0] for word in args}
        typed: dict[str, str] = {}
        for item in self.params:
            names = [name for name in item.opts if name in words] if isinstance(item, click.Option) else []
            if len(names) > 1:
                raise Invalid("cli.same_option", first=names[0], second=names[1])
            if names:
                typed[item.name or ""] = names[0]
        ctx.meta[TYPED] = typed
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What follows the command's name on the usage line."""
        return [
            *(item.metavar or "" for item in self.params if isinstance(item, Argument)),
            translate("cli.help.anything"),
        ]

    def sections(self, ctx: click.Context, size: int) -> list[list[str]]:
        """A plain command has no further sections."""
        return []

    def get_help(self, ctx: click.Context) -> str:
        """The help page."""
        return self.page(ctx).rstrip("\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run, unless there are words left that nothing asked for."""
        if ctx.args:
            raise Invalid("cli.extra_argument", name=ctx.args[0])
        return super().invoke(ctx)


class Group(Bilingual, click.Group):
    """A command that has commands. ``loader`` makes one when it is needed, by name; ``texts`` says what each does."""

    def __init__(
        self,
        name: str,
        key: str,
        texts: Callable[[], dict[str, str]],
        loader: Callable[[str], click.Command],
        word: str = "cli.metavar.command",
    ) -> None:
        super().__init__(name, no_args_is_help=False, invoke_without_command=True, callback=self._alone)
        self.key = key
        self.texts = texts
        self.loader = loader
        self.word = word

    def _alone(self) -> None:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            click.echo(self.page(ctx), err=True, nl=False)
            ctx.exit(2)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the line; options may stand before the name of the command."""
        if args and args[0].startswith("-"):
            name = next((word for word in args if word in self.texts()), None)
            if name is not None:
                place = args.index(name)
                args = [name, *args[:place], *args[place + 1 :]]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the help page."""
        return list(self.texts())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """The command ``cmd_name``; raises Invalid with a suggestion if there is none."""
        texts = self.texts()
        if cmd_name in texts:
            return self.loader(cmd_name)
        if cmd_name.startswith("-"):
            raise click.NoSuchOption(cmd_name, ctx=ctx)
        raise unknown("cli.no_modality" if self.word == "cli.metavar.modality" else "cli.no_command", cmd_name, texts)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """What follows the group's name on the usage line."""
        return [translate(self.word), translate("cli.help.anything")]

    def sections(self, ctx: click.Context, size: int) -> list[list[str]]:
        """The list of commands."""
        title = "cli.help.modalities" if self.word == "cli.metavar.modality" else "cli.help.commands"
        return [[translate(title), *columns(list(self.texts().items()), size)]]

    def get_help(self, ctx: click.Context) -> str:
        """The help page."""
        return self.page(ctx).rstrip("\n")
