"""Which modalities there are and what may be asked of them, read without importing their libraries.

A modality keeps its ``Conditions`` and ``Ask`` in ``conditions.py`` beside its class. Their fields are read from that
file's source, so that a help page needs no RDKit; where that cannot be done the class itself is imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

import click

from puji import registry
from puji.commands.interface import ASKED, TYPED, unknown
from puji.errors import Invalid
from puji.language import add_folder, current, has_text, translate


@dataclass(frozen=True)
class Field:
    """One thing that may be asked: its name, other names for it, and whether it is a switch or may be repeated."""

    name: str
    aliases: tuple[str, ...] = ()
    flag: bool = False
    many: bool = False


@cache
def entries() -> dict[str, EntryPoint]:
    """The installed modalities by name; their messages can be looked up from then on."""
    found = registry.entries()
    for entry in found.values():
        add_folder(registry.package_folder(entry) / "messages")
    return found


@cache
def _summaries(language: str) -> dict[str, str]:
    names = entries()
    return {name: translate(f"{name}.summary", language) if has_text(f"{name}.summary") else name for name in names}


def summaries() -> dict[str, str]:
    """Name of each modality -> what it is about, in the current language."""
    return _summaries(current())


def modality_class(name: str) -> Any:
    """The class of the modality ``name``. Raises Invalid if there is none, or the libraries that it needs are missing."""
    if name not in entries():
        raise unknown("cli.no_modality", name, entries())
    return registry.modality(name)


def fields(name: str, kind: str) -> list[Field]:
    """The fields of ``Conditions`` or ``Ask`` (``kind``) of the modality ``name``."""
    entry = entries()[name]
    source = registry.package_folder(entry) / "conditions.py"
    if entry.module.endswith(".modality") and source.exists():
        declared = declared_fields(source.read_text("utf-8"), kind)
        if declared is not None:
            return declared
    return model_fields(getattr(modality_class(name), kind))


def declared_fields(source: str, kind: str) -> list[Field] | None:
    """The fields of the class ``kind`` as ``source`` declares them; None if they cannot be told without running it."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == kind:
            if [ast.unparse(base) for base in node.bases] != ["BaseModel"]:
                return None
            lines = [
                item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            return [_declared(line) for line in lines if not ast.unparse(line.annotation).startswith("ClassVar")]
    return None


def _declared(line: ast.AnnAssign) -> Field:
    assert isinstance(line.target, ast.Name)
    aliases: list[str] = []
    for call in ast.walk(line.value) if line.value is not None else ():
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("AliasChoices"):
            aliases = [
                item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)
            ]
    return _field(line.target.id, aliases, ast.unparse(line.annotation))


def model_fields(model: Any) -> list[Field]:
    """The fields of a pydantic model."""
    return [
        _field(
            name,
            getattr(info.validation_alias, "choices", []),
            str(getattr(info.annotation, "__name__", info.annotation)),
        )
        for name, info in model.model_fields.items()
    ]


def _field(name: str, aliases: list[Any], annotation: str) -> Field:
    others = tuple(str(alias) for alias in aliases if alias != name)
    many = annotation.split("|")[0].strip().startswith(("tuple", "list", "set", "frozenset", "Sequence"))
    return Field(name, others, flag=annotation.split("|")[0].strip() == "bool", many=many)


def field_options(name: str, kind: str) -> list[click.Option]:
    """The fields of ``Conditions`` or ``Ask`` (``kind``) as options, explained by ``<name>.<kind>.<field>.description``."""
    made = []
    for field in fields(name, kind):
        key = f"{name}.{kind.lower()}.{field.name}.description"
        names = [f"--{word.replace('_', '-')}" for word in (field.name, *field.aliases)]
        made.append(
            click.Option(
                [*names, ASKED + field.name],
                is_flag=field.flag,
                default=None,
                multiple=field.many,
                metavar=translate("cli.metavar.value"),
                help=translate(key) if has_text(key) else "",
            )
        )
    return made


def take_asked(values: dict[str, Any]) -> dict[str, Any]:
    """Move what the options of `field_options` got out of ``values``; what was not asked is left out."""
    asked = {key.removeprefix(ASKED): values.pop(key) for key in list(values) if key.startswith(ASKED)}
    return {key: value for key, value in asked.items() if value not in (None, ())}


def checked(model: Any, asked: Mapping[str, Any]) -> Any:
    """``asked`` as the pydantic ``model``. Raises Invalid, naming the option as it was typed, for a value it does not take."""
    from puji.options import validated

    try:
        return validated(model, asked)
    except Invalid as refusal:
        name = refusal.source.removeprefix("--") or _guilty(model, asked, refusal.reason)
        raise as_typed(refusal, asked, name) from refusal


def _guilty(model: Any, asked: Mapping[str, Any], reason: str) -> str:
    """The field that is refused for ``reason`` also when it is asked for alone; '' if it takes several."""
    from puji.options import validated

    for name, value in asked.items():
        try:
            validated(model, {name: value})
        except Invalid as refusal:
            if refusal.reason == reason:
                return name
    return ""


def typed_as(name: str) -> str:
    """How the option of the field ``name`` stood on the line: ``--scaffold`` where that was written for keep."""
    ctx = click.get_current_context(silent=True)
    typed: dict[str, str] = ctx.meta.get(TYPED, {}) if ctx else {}
    return typed.get(ASKED + name, f"--{name.replace('_', '-')}")


def as_typed(refusal: Invalid, asked: Mapping[str, Any], name: str) -> Invalid:
    """``refusal`` of the field ``name`` ('' if unknown), naming the options as they were typed."""
    others = {f"--{field}": typed_as(field) for field in asked if typed_as(field) != f"--{field}"}

    def told(text: Any) -> Any:
        for declared, typed in others.items() if isinstance(text, str) else ():
            text = re.sub(rf"{re.escape(declared)}(?![\w-])", typed, text)
        return text

    details = {key: told(value) for key, value in refusal.details.items()}
    renamed = Invalid(refusal.reason, source=told(refusal.source), line=refusal.line, **details)
    if not name or typed_as(name) in renamed.message():
        return renamed
    return renamed.at(typed_as(name), None)
