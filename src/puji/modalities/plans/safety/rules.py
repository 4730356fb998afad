"""The safety rules of a care setting, as a JSON or TOML file declares them. See example.toml.

name = "..."                      what the setting is called
[codes]                           what codes of other systems mean in ATC or ICD-10: "RXNORM/5856" = ["ATC/A10AB01"]; an empty
                                  list says that nothing there is meant
[names."ATC/A10AB01"]             names of codes for people: en = "insulin", zh = "胰岛素"
[[rules]]                         a rule: its kind, an id, and the fields of that kind (doses.py, patient.py, interactions.py)
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from puji.errors import Invalid
from puji.modalities.plans.plan import Names
from puji.modalities.plans.safety.case import family
from puji.modalities.plans.safety.doses import Allowed, Change, Interval, Limit
from puji.modalities.plans.safety.interactions import EXAMPLE as INTERACTIONS
from puji.modalities.plans.safety.interactions import Interaction, load_interactions
from puji.modalities.plans.safety.patient import Age, Allergy, Condition, Duplicate, Observed, Pregnancy
from puji.modalities.plans.safety.rule import Code, Declared, as_error

EXAMPLE = Path(__file__).with_name("example.toml")
"""Rules of a setting in which insulin is given under the skin: an example, not for use."""
LARGEST = 20_000_000
"""Bytes of a file of rules."""

AnyRule = Annotated[
    Allowed | Limit | Change | Interval | Allergy | Duplicate | Condition | Age | Pregnancy | Observed | Interaction,
    Field(discriminator="kind"),
]


class Rules(Declared):
    """All rules of a setting. At least one of them is the closed list of what may be ordered."""

    name: str
    codes: dict[Code, tuple[Code, ...]] = Field(default_factory=dict)
    names: dict[Code, dict[str, str]] = Field(default_factory=dict)
    rules: tuple[AnyRule, ...]

    @model_validator(mode="after")
    def _whole(self) -> Rules:
        ids = [rule.id for rule in self.rules]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise as_error(Invalid("plans.rules.twice", id=twice[0]))
        if not any(isinstance(rule, Allowed) and rule.medicines is None and rule.routes is None for rule in self.rules):
            raise as_error(Invalid("plans.rules.not_closed"))
        for rule in self.rules:
            for code in rule.named():
                if family(code) != "ATC" and code not in self.codes:
                    raise as_error(Invalid("plans.rules.unmapped", id=rule.id, code=code, system="ATC"))
            for code in rule.conditions if isinstance(rule, Condition) else ():
                if family(code) != "ICD10" and code not in self.codes:
                    raise as_error(Invalid("plans.rules.unmapped", id=rule.id, code=code, system="ICD10"))
        return self

    @property
    def naming(self) -> Names:
        """Names of codes; a code that means one other has the name of that."""
        meant = {code: self.names[to[0]] for code, to in self.codes.items() if len(to) == 1 and to[0] in self.names}
        return {**meant, **self.names}


def load_rules(path: str | Path) -> Rules:
    """The rules in a .json or .toml file. An interaction rule may name a CSV file beside it: ``table = "interactions.csv"``, or
    ``table = "example"`` for the one that comes with Puji.

    Raises Invalid with the file, the place in it, and what to do.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid("plans.rules.large", source=str(path))
        text = path.read_text("utf-8-sig")
        told = _toml(text) if path.suffix.lower() == ".toml" else _json(text)
    except FileNotFoundError as error:
        raise Invalid("read.missing", source=str(path)) from error
    except OSError as error:
        raise Invalid("read.failed", source=str(path), why=error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise Invalid("plans.rules.unreadable", source=str(path), line=line, why=str(error)[:200]) from error
    rules = told.get("rules") if isinstance(told, dict) else None
    for number, rule in enumerate(rules if isinstance(rules, list) else (), 1):
        if isinstance(rule, dict) and isinstance(table := rule.get("table"), str):
            del rule["table"]
            pairs = load_interactions(INTERACTIONS if table == "example" else _beside(path, table, number))
            rule["pairs"] = [*rule.get("pairs", ()), *pairs]
    return parsed_rules(told, str(path))


def parsed_rules(told: Any, source: str = "") -> Rules:
    """Rules from plain values as JSON knows them. Raises Invalid with the place and what to do."""
    try:
        # As JSON, so that lists become tuples and nothing in the rules is shared with the caller.
        return Rules.model_validate_json(json.dumps(told))
    except ValidationError as error:
        raise _refusal(error, told, source) from error
    except (TypeError, ValueError) as error:
        raise Invalid("plans.rules.unreadable", source=source, why=str(error)[:200]) from error


def _beside(path: Path, table: str, number: int) -> Path:
    target = path.parent / table
    if not target.is_file():
        raise Invalid("plans.rules.no_table", source=str(path), place=f"rules[{number}].table", value=table[:80])
    return target


def _toml(text: str) -> Any:
    return tomllib.loads(text)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=once, parse_constant=_no_constant)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON as a dict. Raises ValueError where a field stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a field stands twice: {next(name for name in names if names.count(name) > 1)!r}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _refusal(error: ValidationError, told: Any, source: str) -> Invalid:
    """The first error, with its place: "rules[3] glucose-floor, most"."""
    first = error.errors(include_url=False)[0]
    loc = list(first["loc"])
    place, fields = "", loc
    if loc[:1] == ["rules"] and len(loc) > 1 and isinstance(loc[1], int):
        rule = told["rules"][loc[1]]
        name = rule.get("id", "") if isinstance(rule, dict) else ""
        place = f"rules[{loc[1] + 1}] {name}".strip()
        fields = loc[3:]  # behind the number stands the kind
    where = ", ".join(one for one in (place, ".".join(map(str, fields))) if one)
    kind = first["type"]
    details: dict[str, Any] = {"place": where or "-", "value": str(first["input"])[:80]}
    if kind.startswith(("plans.", "timelines.")):
        context = {key: value for key, value in first["ctx"].items() if key != "reason"}
        return Invalid(kind, source=f"{source}, {where}" if where else source, **{**details, **context})
    if kind in ("missing", "extra_forbidden", "union_tag_invalid", "union_tag_not_found"):
        tags = first.get("ctx", {})
        details |= {"known": tags.get("expected_tags", ""), "value": tags.get("tag", details["value"])}
        return Invalid(f"plans.rules.{kind}", source=source, **details)
    return Invalid("plans.rules.wrong", source=source, why=first["msg"], **details)
