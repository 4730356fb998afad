"""Which SMILES token may follow which: brackets, branches and rings close, atoms keep to their valence.

Nothing that RDKit writes for a molecule is forbidden (tests hold it to that), so the limits are upper bounds: bonds whose
order is told at the other end of a ring count 1 (0 where they may be dative), dative bonds 0, and whether an aromatic ring
can be given double bonds is not looked at. The exception: "~" and dative bonds at a
carbon written without brackets, or at a stereocentre, that has all its bonds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from rdkit import Chem

from puji.modalities.molecules.tokens import BONDS, BRACKETS, CLOSURES, KEEP, MOL, OUTSIDE, POINTS, text
from puji.modality import END

ORDERS = {"-": 1, "=": 2, "#": 3, "$": 4, ":": 1, "/": 1, "\\": 1, "~": 0, "->": 0, "<-": 0}
DIGITS = "0123456789"
UNLIMITED = 20

_LIMITS = {"B": 3, "C": 4, "N": 3, "O": 2, "P": 5, "S": 6, "F": 1, "Cl": 1, "Br": 1, "I": 5}
_SHAPES = {"TH": 2, "AL": 2, "SP": 3, "TB": 20, "OH": 30}
_AROMATIC = frozenset({"b", "c", "n", "o", "p", "s", "as", "se", "te", "si"})
_ELEMENTS = frozenset(Chem.GetPeriodicTable().GetElementSymbol(number) for number in range(1, 119)) | _AROMATIC
_CHIRAL = ("@", "@@", *(f"@{shape}{n}" for shape, most in _SHAPES.items() for n in range(1, most + 1)))
_ATOM = re.compile(r"\[(\d*)([A-Z][a-z]?|[a-z]{1,2}|\*)?(@(?:@|(?:[AOST][A-Z]?\d*))?)?(H\d*)?([+-]+\d*)?(:\d*)?\]?")


class Frame(NamedTuple):
    """The atom that a chain or branch goes on from: bonds left, whether it may have dative bonds beyond these, and whether
    it is the first of its branch."""

    left: int
    dative: bool
    first: bool


class Ring(NamedTuple):
    """The open ring closures of one atom, and the frames whose atom it is or is bonded to: it cannot be bonded again."""

    labels: tuple[int, ...]
    near: tuple[tuple[int, bool], ...]  # (depth of the frame, whether it is the atom itself)


class State(NamedTuple):
    """What is known after some tokens. ``kind`` is that of the last token."""

    kind: str  # a key of _AFTER, or "start" or "dead"
    order: int  # of the bond to the next atom or ring closure
    partial: str  # of a bracket atom or ring closure written by characters
    frames: tuple[Frame, ...]
    rings: tuple[Ring, ...]
    points: int  # attachment points written
    asked: int  # attachment points to write
    linker: bool  # all points in one piece instead of one piece each


DEAD = State("dead", 1, "", (), (), 0, 0, False)

# Kind of the last token -> kind after a bond that follows it; "" where none may follow.
_AFTER = {
    "atom": "atom-bond",  # an atom or ring closure
    "point": "point-bond",  # the attachment point that opens a piece
    "branch": "branch-bond",  # "("
    "close": "close-bond",  # ")"
    "atom-bond": "",
    "point-bond": "",
    "branch-bond": "",
    "close-bond": "",
}


@cache
def limit(atom: str) -> tuple[int, bool]:
    """The most bonds of an atom token (upper bound, in single bonds), and whether it may have dative bonds beyond.

    Hydrogen, carbon, nitrogen and oxygen follow their charge; other bracket atoms are not limited.
    """
    if atom in POINTS:
        return 1, False
    if not atom.startswith("["):
        element = atom.capitalize()
        return _LIMITS.get(element, UNLIMITED), element != "C"
    match = _ATOM.fullmatch(atom)
    if match is None:
        return UNLIMITED, True
    element, hydrogens, sign = (match[2] or "").capitalize(), match[4] or "", match[5] or ""
    charge = 0
    if sign:
        charge = (int(sign[1:]) if sign[1:].isdigit() else len(sign)) * (1 if sign[0] == "+" else -1)
    bound = {
        ("H", 0): 1,
        **{("C", charge): 4 - abs(charge) for charge in (-1, 0, 1)},
        **{("N", charge): 3 + charge for charge in (-1, 0, 1)},
        **{("O", charge): 2 + charge for charge in (-1, 0, 1)},
    }.get((element, charge))
    if bound is None:
        return UNLIMITED, True
    held = int(hydrogens[1:] or 1) if hydrogens else 0
    # RDKit writes a plain carbon in brackets where it is bonded to a metal, or is a radical.
    return max(bound - held, 0), element not in ("C", "H") or (element == "C" and not match[3])


_ATOMS = tuple(token for token in (*OUTSIDE, *BRACKETS) if token != "*")


@cache
def _atoms(order: int, stuck: bool) -> frozenset[str]:
    """Atoms that a bond of ``order`` can reach; if ``stuck``, only those that more can be bonded to."""
    found = {"["}
    for token in _ATOMS:
        most, dative = limit(token)
        if most >= order and not (stuck and most == order and not dative):
            found.add(token)
    return frozenset(found)


@lru_cache(maxsize=4096)
def inside(partial: str, order: int) -> frozenset[str]:
    """The characters that may follow ``partial``, the beginning of a bracket atom that a bond of ``order`` reaches."""
    match = _ATOM.fullmatch(partial)
    if match is None:
        return frozenset()
    isotope, symbol, chirality, hydrogens, charge, number = (part or "" for part in match.groups())
    digits = frozenset(DIGITS)
    found: set[str] = set()
    if not symbol:
        found.update(element[0] for element in _ELEMENTS)
        return frozenset(found | (set(DIGITS[1:]) if not isotope else digits if len(isotope) < 3 else set()))
    if not (chirality or hydrogens or charge or number) and len(symbol) == 1:
        found.update(element[1] for element in _ELEMENTS if len(element) == 2 and element[0] == symbol)
    if symbol not in _ELEMENTS:
        return frozenset(found)
    if number:
        if len(number) == 1:
            return frozenset(DIGITS[1:])
        found |= digits if len(number) < 6 else set()
    elif charge:
        # RDKit writes +2, never ++.
        found |= {":"} | (set(DIGITS[1:]) if len(charge) == 1 else digits if len(charge) < 3 else set())
    elif hydrogens:
        found |= {"+", "-", ":"} | (digits if len(hydrogens) == 1 else set())
    elif chirality:
        found.update(known[len(chirality)] for known in _CHIRAL if known.startswith(chirality) and known != chirality)
        if chirality not in _CHIRAL:
            return frozenset(found)
        found |= {"H", "+", "-", ":"}
    else:
        # RDKit reads no chirality at a hydrogen.
        found |= {"H", "+", "-", ":"} | ({"@"} if symbol != "H" else set())
    if limit(partial + "]")[0] >= order:
        found.add("]")
    return frozenset(found)


class SmilesGrammar:
    """Whole SMILES of one molecule; after a prompt that keeps parts, the missing pieces with their attachment points."""

    def start(self, prompt: Sequence[str]) -> Hashable:
        """Before the first atom. The points to write are counted in the prompt."""
        asked, linker = 0, False
        if KEEP in prompt:
            kept = text([token for token in prompt[list(prompt).index(KEEP) + 1 :] if token != MOL])
            asked, linker = len(re.findall(r"\[\*:\d\]", kept)), "." in kept
        return State("start", 1, "", (), (), 0, asked, linker)

    def allowed(self, state: Hashable) -> Collection[str]:
        """The tokens that may come next."""
        if not isinstance(state, State) or state.kind == "dead":
            return frozenset()
        if state.partial.startswith("["):
            return inside(state.partial, state.order if state.frames else 0)
        if state.partial:
            return _closure(state.partial)
        if state.kind == "start":
            if state.asked:
                return frozenset(POINTS[state.points : state.points + 1])
            return _atoms(0, False)
        frame, below = state.frames[-1], state.frames[:-1]
        kind, order = state.kind, state.order
        bare = kind in ("atom", "close")
        labels = sum(len(ring.labels) for ring in state.rings)
        points = state.asked - state.points if state.linker else 0
        waiting = labels + points
        # Where what is still open could be closed, if not at the next atom or at this one.
        elsewhere = any(other.left or other.dative for other in below)
        returns = kind.startswith("branch") and (frame.left > order or frame.dative)
        fits = frame.left >= order if order else frame.left > 0 or frame.dative
        opens = closes = False
        if kind in ("atom", "atom-bond") and (fits or (frame.dative and kind == "atom")):
            last = frame.left == order and not frame.dative and not elsewhere
            opens = kind == "atom" and not last  # RDKit writes the bond of a ring where the ring closes
            closes = fits and (not last or waiting == 1)
        usable = frozenset(
            label
            for ring in state.rings
            for label in ring.labels
            if closes and not any(depth == len(below) for depth, _ in ring.near)
        )
        ends = bare and not below and not waiting
        return _tokens(
            atoms=order if fits else -1,
            stuck=bool(waiting) and not elsewhere and not returns,
            bonds=0 if not _AFTER[kind] else 1 if kind == "point" else min(frame.left, 4),
            dative=bool(_AFTER[kind]) and kind != "point" and (frame.left > 0 or frame.dative),
            branch=bare and (frame.left > 0 or frame.dative),
            close=bare and bool(below) and (not waiting or elsewhere),
            closes=usable,
            taken=frozenset(label for ring in state.rings for label in ring.labels) if opens else None,
            points=state.points
            if points
            and fits
            and order == 1
            and not kind.startswith("point")
            and (waiting == 1 or elsewhere or returns)
            else 0,
            ends=(END if state.points == state.asked else ".") if ends else "",
        )

    def advance(self, state: Hashable, token: str) -> Hashable:
        """The state after ``token``; a dead one if it was not allowed."""
        if not isinstance(state, State) or token not in self.allowed(state):
            return DEAD
        if state.partial or token in "[%":
            partial = state.partial + token
            if partial[0] == "[":
                if token != "]":
                    return state._replace(partial=partial)
                return _placed(state._replace(partial=""), partial)
            if (label := _label(partial)) is None:
                return state._replace(partial=partial)
            return _ring(state._replace(partial=""), label)
        if token == END:
            return DEAD
        if token == ".":
            return state._replace(kind="start", order=1, frames=())
        if token == "(":
            return state._replace(kind="branch")
        if token == ")":
            depth = len(state.frames) - 1
            rings = (
                ring._replace(near=tuple(place for place in ring.near if place[0] < depth)) for ring in state.rings
            )
            return state._replace(kind="close", frames=state.frames[:-1], rings=tuple(sorted(rings)))
        if token in ORDERS:
            return state._replace(kind=_AFTER[state.kind], order=ORDERS[token])
        if token in CLOSURES or token in DIGITS:
            return _ring(state, int(token.lstrip("%")))
        return _placed(state, token)


@lru_cache(maxsize=4096)
def _tokens(
    *,
    atoms: int,
    stuck: bool,
    bonds: int,
    dative: bool,
    branch: bool,
    close: bool,
    closes: frozenset[int],
    taken: frozenset[int] | None,
    points: int,
    ends: str,
) -> frozenset[str]:
    """The union of what is allowed; cached, so that equal sets are the same object."""
    found: set[str] = {ends} if ends else set()
    if atoms >= 0:
        found |= _atoms(atoms, stuck)
    found.update(bond for bond in BONDS if (dative if ORDERS[bond] == 0 else ORDERS[bond] <= bonds))
    if branch:
        found.add("(")
    if close:
        found.add(")")
    if points:
        found.add(POINTS[points])
    found.update(_closure_token(label) for label in closes if label < 30)
    if taken is not None:
        found.update(_closure_token(label) for label in range(30) if label not in taken)
    if taken is not None or any(label >= 30 for label in closes):
        found.add("%")
    return frozenset(found)


def _closure_token(label: int) -> str:
    return str(label) if label < 10 else f"%{label}"


def _closure(partial: str) -> frozenset[str]:
    """What may follow the beginning of a ring closure written by characters: %30 or %(100)."""
    if partial in ("%", "%("):
        return frozenset(DIGITS[1:] + "(" if partial == "%" else DIGITS[1:])
    if partial.startswith("%(") and len(partial) > 2:
        return frozenset(DIGITS + ")" if len(partial) < 7 else ")")
    return frozenset(DIGITS)


def _label(partial: str) -> int | None:
    """The label of a ring closure written by characters; None while it is not complete."""
    if partial.endswith(")"):
        return int(partial[2:-1])
    return int(partial[1:]) if len(partial) == 3 and partial[1] != "(" else None


def _placed(state: State, atom: str) -> State:
    """After an atom, bonded to the frame's atom if there is one."""
    most, dative = limit(atom)
    kind = "point" if atom in POINTS and state.kind == "start" else "atom"
    done = state._replace(kind=kind, order=1, points=state.points + (atom in POINTS))
    if not state.frames:
        return done._replace(frames=(Frame(most, dative, True),))
    if most < state.order:
        return DEAD
    parent = state.frames[-1]
    depth = len(state.frames) - 1
    used = parent._replace(left=max(parent.left - state.order, 0))
    placed = Frame(most - state.order, dative, state.kind.startswith("branch"))
    if placed.first:
        # The parent stays in its frame; its rings are near the new atom too.
        rings = [
            ring._replace(near=(*ring.near, (depth + 1, False))) if (depth, True) in ring.near else ring
            for ring in state.rings
        ]
        frames = (*state.frames[:-1], used, placed)
    else:
        rings = [
            ring._replace(
                near=tuple(
                    (where, False) if where == depth else (where, itself)
                    for where, itself in ring.near
                    if where != depth or itself
                )
            )
            for ring in state.rings
        ]
        frames = (*state.frames[:-1], placed)
    return done._replace(frames=frames, rings=tuple(sorted(rings)))


def _ring(state: State, label: int) -> State:
    """After a ring closure: closes the one that is open under ``label``, else opens it at this atom."""
    depth = len(state.frames) - 1
    frame = state.frames[-1]
    rings = list(state.rings)
    opens = not any(label in ring.labels for ring in rings)
    # The order is told where a ring closes, so what opens here may turn out to be a dative bond.
    order = 0 if opens and frame.dative else state.order
    frames = (*state.frames[:-1], frame._replace(left=max(frame.left - order, 0)))
    for index, ring in enumerate(rings):
        if label in ring.labels:
            if any(where == depth for where, _ in ring.near):
                return DEAD
            left = tuple(other for other in ring.labels if other != label)
            rings[index : index + 1] = [Ring(left, (*ring.near, (depth, False)))] if left else []
            break
    else:
        for index, ring in enumerate(rings):
            if (depth, True) in ring.near:
                rings[index] = ring._replace(labels=tuple(sorted((*ring.labels, label))))
                break
        else:
            parents = ((depth - 1, False),) if frame.first and depth else ()
            rings.append(Ring((label,), (*parents, (depth, True))))
    return state._replace(kind="atom", order=1, frames=frames, rings=tuple(sorted(rings)))
