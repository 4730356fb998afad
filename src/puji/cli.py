"""The ``puji`` command: finds the language, hands the line to a command, and tells people what went wrong.

Exit codes: 0 done; 1 it failed or nothing came of it; 2 the line, a file or a record was refused; 130 interrupted.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import unicodedata
import warnings
from collections.abc import Callable, Sequence

import click

from puji import language
from puji.commands.interface import Group, Typed, option, option_name, unknown
from puji.errors import Invalid
from puji.language import translate

FAILURES = ("files.", "checkpoint.unwritable", "generate.nothing", "fit.diverged")
"""Reasons that are a failure of the work (exit code 1), not of the line or of what was given (2)."""


ALIKE = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "“": '"', "”": '"', "‘": "'", "’": "'", "×": "x", "↑": "^", "↓": "v"}
)
"""Signs that many encodings lack, and what stands for them there."""


def spelled(error: UnicodeError) -> tuple[str, int]:
    """Stands in for what an encoding lacks: the letter without its mark, a sign that looks alike, else its code."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    parts = []
    for character in error.object[error.start : error.end]:
        alike = unicodedata.normalize("NFKD", character).translate(ALIKE).encode("ascii", "ignore").decode("ascii")
        parts.append(alike or character.encode("ascii", "backslashreplace").decode("ascii"))
    return "".join(parts), error.end


codecs.register_error("puji.spelled", spelled)


def _modality_group(name: str, module: str, make: str) -> click.Command:
    """``puji <name> MODALITY``: one command for each modality, made when it is named."""
    from importlib import import_module

    from puji.commands.fields import summaries

    def loader(modality: str) -> click.Command:
        command: click.Command = getattr(import_module(f"puji.commands.{module}"), make)(modality)
        return command

    return Group(name, f"cli.{name}", summaries, loader, word="cli.metavar.modality")


def _plain(module: str, make: str) -> click.Command:
    from importlib import import_module

    command: click.Command = getattr(import_module(f"puji.commands.{module}"), make)()
    return command


COMMANDS: dict[str, Callable[[], click.Command]] = {
    "demo": lambda: _plain("show", "demo_command"),
    "list": lambda: _plain("show", "list_command"),
    "generate": lambda: _modality_group("generate", "generate", "generate_command"),
    "predict": lambda: _modality_group("predict", "judge", "predict_command"),
    "explain": lambda: _modality_group("explain", "judge", "explain_command"),
    "embed": lambda: _modality_group("embed", "judge", "embed_command"),
    "evaluate": lambda: _modality_group("evaluate", "evaluate", "evaluate_command"),
    "fit": lambda: _modality_group("fit", "learn", "fit_command"),
    "card": lambda: _modality_group("card", "show", "card_command"),
    "data": lambda: _plain("learn", "data_group"),
    "stream": lambda: _plain("stream", "stream_command"),
}


def app() -> Group:
    """The whole command, in the current language."""
    group = Group(
        "puji",
        "cli.puji",
        lambda: {name: translate(f"cli.{name}") for name in COMMANDS},
        lambda name: COMMANDS[name](),
    )
    # These three are taken out of the line before Click sees it; they stand here for the help page.
    group.params += [
        option("--lang", kind=Typed("en|zh", str, ""), expose_value=False),
        option("--debug", is_flag=True, expose_value=False),
        option("--version", is_flag=True, expose_value=False),
    ]
    return group


def take_globals(words: Sequence[str]) -> tuple[list[str], str | None, bool]:
    """The line without ``--lang`` and ``--debug``, wherever they stand, and what they said."""
    rest: list[str] = []
    chosen: str | None = None
    debug = False
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return [*rest, word, *words], chosen, debug
        if word == "--debug":
            debug = True
        elif word == "--lang" or word.startswith("--lang="):
            value = word.partition("=")[2] or (words.pop(0) if words else "")
            if value not in language.LANGUAGES:
                raise Invalid("cli.not_a_choice", option="--lang", value=value, known=", ".join(language.LANGUAGES))
            chosen = value
        else:
            rest.append(word)
    return rest, chosen, debug


def explained(error: click.ClickException) -> Invalid:
    """What Click complains about, as a message of ours."""
    if isinstance(error, click.NoSuchOption):
        known = [name for item in error.ctx.command.params for name in item.opts] if error.ctx else []
        return unknown("cli.no_option", error.option_name, [name for name in known if name.startswith("-")])
    if isinstance(error, click.BadOptionUsage):
        return Invalid("cli.option_value", option=error.option_name)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return Invalid("cli.missing", name=option_name(error.param))
    return Invalid("cli.usage", why=error.format_message())


def fail(error: BaseException) -> int:
    """Say on stderr what went wrong; the exit code."""
    if isinstance(error, click.ClickException):
        error = explained(error)
    if isinstance(error, Invalid):
        _say(error.message())
        return 1 if error.reason.startswith(FAILURES) else 2
    if isinstance(error, MemoryError):
        _say(translate("cli.memory"))
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        _close_stdout()
        _say(translate("files.full"))
    elif isinstance(error, OSError):
        _say(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    else:
        _say(translate("cli.unexpected", kind=type(error).__name__, text=str(error)[:300]))
    return 1


def _say(text: str) -> None:
    click.echo(f"{translate('cli.error')}{text}", err=True)


def _close_stdout() -> None:
    """Send what stdout still holds to nowhere, so that Python does not complain again when it closes it."""
    if sys.stdout is None:
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        click.echo(f"puji {version('puji')}")
        return 0
    group = app()
    code = 0
    try:
        # Not Click's own main, which answers an interruption and a closed pipe in its way.
        with group.make_context("puji", words) as context:
            group.invoke(context)
    except click.exceptions.Exit as left:
        code = left.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` (default: that of the process); the exit code. Never raises but with ``--debug``."""
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="puji.spelled")
    debug = "--debug" in words
    before = language.chosen()
    try:
        rest, chosen, debug = take_globals(words)
        if chosen:
            language.use(chosen)
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
            return _run(rest)
    except KeyboardInterrupt:
        click.echo(translate("cli.interrupted"), err=True)
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _close_stdout()
        return 141
    except Exception as error:
        if debug:
            raise
        return fail(error)
    finally:
        language.use(before)


if __name__ == "__main__":
    sys.exit(main())
