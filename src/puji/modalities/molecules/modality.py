"""Drug molecules as sequences of SMILES tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel
from rdkit import Chem
from rdkit.Chem import rdBase, rdMolDescriptors

from puji.arrays import pack_strings, unpack_strings
from puji.errors import Invalid
from puji.modalities.molecules import conditions, fragments, views
from puji.modalities.molecules.bins import Bins
from puji.modalities.molecules.data import MOSES
from puji.modalities.molecules.draw import explanation_svg, grid, molecule_svg
from puji.modalities.molecules.grammar import SmilesGrammar
from puji.modalities.molecules.molecule import Molecule, parse, scaffold, standardise
from puji.modalities.molecules.properties import PROPERTIES, alerts
from puji.modalities.molecules.read import read
from puji.modalities.molecules.similarity import SimilarityIndex, similarity_index
from puji.modalities.molecules.tokens import (
    BAND_TOKENS,
    BANDS,
    KEEP,
    LIKE,
    MOL,
    SPLITTER,
    bin_tokens,
    body,
    text,
    tokenize,
    vocabulary_tokens,
)
from puji.modalities.molecules.write import FORMATS, write
from puji.modality import Candidate, Candidates, Estimate, Grammar, Metric, Modality, Raw, View
from puji.options import Range


def _moses_training() -> Path:
    """Fetches MOSES and gives its training set."""
    return MOSES.file("train.csv.gz", MOSES.fetched())


NEIGHBOURS = 20_000
"""Training molecules kept in the checkpoint, drawn at random, among which the nearest one to a new molecule is searched."""

LEARNED_FROM = 10_000
"""Training molecules whose properties set the bins."""


class Molecules(Modality[Molecule]):
    """Small molecules: new ones, around a scaffold, between two fragments, like a drug, with the properties asked for."""

    name: ClassVar[str] = "molecules"
    shown_by: ClassVar[str] = "puji.modalities.molecules.demo"
    start: ClassVar[str] = MOL
    splitter: ClassVar[str] = SPLITTER
    context: ClassVar[int] = 512
    Conditions: ClassVar[type[BaseModel]] = conditions.Conditions
    Ask: ClassVar[type[BaseModel]] = conditions.Ask
    formats: ClassVar[tuple[str, ...]] = FORMATS
    datasets: ClassVar[Mapping[str, Callable[[], Path]]] = {"moses": _moses_training}
    shares: ClassVar[Mapping[str, float]] = views.SHARES
    """How often training shows each direction; see `views`."""

    def __init__(self) -> None:
        self.bins: dict[str, Bins] = {}
        self.analogues = views.Analogues()
        self.neighbours: SimilarityIndex | None = None

    # -- step 1: preprocess ------------------------------------------------------------------------------------------

    def read(self, source: Path) -> Iterator[Raw | Invalid]:
        """Molecules of .smi, .txt, .csv, .tsv, .parquet and .sdf files, each also as .gz, or of a folder of them."""
        return read(source)

    def preprocess(self, raw: Raw) -> Molecule:
        """Parse (SMILES or the block of an SDF record), keep the largest fragment, neutralise, write canonically."""
        content = raw.content
        if isinstance(content, str) and "\n" in content.strip():
            record = standardise(_from_block(content))
        elif isinstance(content, str):
            record = standardise(parse(content.strip()))
        else:
            raise Invalid("molecules.unparsable")
        if len(tokenize(record.smiles)) + 2 > self.context:
            raise Invalid("molecules.tokens", limit=self.context)
        return record

    def group(self, record: Molecule) -> str:
        """The Murcko scaffold: a split by it holds whole chemical series out."""
        return scaffold(record.mol)

    # -- step 2: encode ----------------------------------------------------------------------------------------------

    def learn(self, records: Sequence[Molecule]) -> None:
        """The quantile bins of the properties, from up to `LEARNED_FROM` of ``records``."""
        if not records:
            raise Invalid("molecules.no_records")
        order = np.random.default_rng(0).permutation(len(records))[:LEARNED_FROM]
        mols = [records[index].mol for index in order]
        self.bins = {name: Bins.of([known.compute(mol) for mol in mols]) for name, known in PROPERTIES.items()}

    def prepare(self, records: Sequence[Molecule]) -> None:
        """Index training molecules: by scaffold, to show pairs of analogues; by fingerprint, to find the nearest one."""
        self.analogues = views.Analogues(records)
        self.neighbours = similarity_index([record.smiles for record in records], keep=NEIGHBOURS)

    def state(self) -> dict[str, Any]:
        """Quantiles of each property among the training molecules, and some of these molecules with fingerprints."""
        state: dict[str, Any] = {"quantiles": {name: bins.quantiles.tolist() for name, bins in self.bins.items()}}
        if self.neighbours is not None:
            state |= {
                "neighbours_total": self.neighbours.total,
                "neighbours_smiles": pack_strings(list(self.neighbours.smiles)),
                "neighbours_fingerprints": self.neighbours.fingerprints,
            }
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        quantiles = state.get("quantiles", {})
        self.bins = {
            name: Bins(np.asarray(quantiles[name], dtype=np.float64)) for name in PROPERTIES if name in quantiles
        }
        if "neighbours_smiles" in state:
            self.neighbours = SimilarityIndex(
                state["neighbours_fingerprints"], unpack_strings(state["neighbours_smiles"]), state["neighbours_total"]
            )

    def tokens(self) -> list[str]:
        """All tokens in their fixed order, END first."""
        return vocabulary_tokens()

    def encode(self, record: Molecule) -> list[str]:
        """`MOL`, the tokens of the canonical SMILES, END."""
        return body(record.smiles)

    def views(self, record: Molecule, rng: np.random.Generator) -> Iterator[View]:
        """One view, drawn from the directions by `shares`."""
        yield views.view(record, rng, self.bins, self.analogues, self.shares, self.context)

    # -- step 4: decode ----------------------------------------------------------------------------------------------

    def describe(self, record: Molecule) -> conditions.Conditions:
        """The properties of a molecule as conditions; asking for them prompts with the bins it lies in."""
        values = {name: Range[float].of(known.compute(record.mol)) for name, known in PROPERTIES.items()}
        return conditions.Conditions.model_construct(None, **values)

    def prompt(self, conditions: BaseModel, rng: np.random.Generator) -> list[str]:
        """Bins of the properties, what to keep or what to resemble, `MOL`.

        A range becomes a bin drawn from it as often as training molecules fall there; a scaffold without attachment points
        gets one to three at random; the band of similarity is drawn likewise.
        """
        asked = _asked(conditions)
        tokens = []
        for name, wanted in asked.properties().items():
            if name not in self.bins:
                raise Invalid("molecules.not_learned", option=name)
            tokens.append(f"<{name}:{self.bins[name].draw(wanted.low, wanted.high, rng)}>")
        if asked.kept is not None:
            tokens += [KEEP, *tokenize(fragments.opened(asked.kept, rng))]
        elif asked.like is not None:
            tokens += [LIKE, BAND_TOKENS[views.drawn_band(asked.similarity, rng)], *tokenize(asked.like)]
        if len(tokens) > self.context // 2:
            raise Invalid("molecules.tokens", limit=self.context // 2)
        return [*tokens, MOL]

    def grammar(self, conditions: BaseModel) -> Grammar:
        """SMILES: brackets, branches and rings close, no atom has more bonds than it can, and points are as asked."""
        return SmilesGrammar()

    def warnings(self, conditions: BaseModel) -> list[Invalid]:
        """What will be answered only approximately: values outside those of the training molecules."""
        asked = _asked(conditions)
        found = []
        for name, wanted in asked.properties().items():
            if name in self.bins and not self.bins[name].holds(wanted.low, wanted.high):
                low, high = self.bins[name].quantiles[[0, -1]]
                found.append(
                    Invalid("molecules.outside", option=name, value=str(wanted), low=f"{low:g}", high=f"{high:g}")
                )
        if asked.similarity is not None and asked.similarity.high < BANDS[0]:
            found.append(
                Invalid(
                    "molecules.outside", option="similarity", value=str(asked.similarity), low=BANDS[0], high=BANDS[-1]
                )
            )
        return found

    def familiar(self, record: Molecule, logprobs: np.ndarray) -> bool | None:
        """Not where a property lies beyond those of all training molecules, by more than a tenth of what they span."""
        for name, bins in self.bins.items():
            value, slack = PROPERTIES[name].compute(record.mol), 0.1 * float(np.ptp(bins.quantiles))
            if not bins.holds(value - slack, value + slack):
                return False
        return None

    def target(self, record: Molecule, name: str) -> tuple[list[str], dict[str, float]]:
        """The whole molecule, and the bins of the property ``name`` with their medians."""
        if name not in PROPERTIES:
            raise Invalid("molecules.property", value=name, known=", ".join(PROPERTIES))
        if name not in self.bins:
            raise Invalid("molecules.not_learned", option=name)
        return self.encode(record), dict(zip(bin_tokens(name), self.bins[name].medians().tolist(), strict=True))

    def question(self, record: Molecule, ask: BaseModel) -> Candidates:
        """Compares the bins of each property after the whole molecule."""
        names = ask.properties if isinstance(ask, conditions.Ask) else tuple(PROPERTIES)
        if not self.bins:
            raise Invalid("molecules.not_learned", option=", ".join(names))
        whole = self.encode(record)
        candidates = [Candidate(whole, [token]) for name in names for token in bin_tokens(name)]

        def answer(log_likelihoods: np.ndarray) -> Mapping[str, Estimate]:
            parts = np.asarray(log_likelihoods, dtype=np.float64).reshape(len(names), -1)
            return {
                name: self.bins[name].estimate(part, PROPERTIES[name].unit)
                for name, part in zip(names, parts, strict=True)
            }

        return Candidates(candidates, answer)

    # -- step 5: postprocess -----------------------------------------------------------------------------------------

    def postprocess(self, tokens: Sequence[str], prompt: Sequence[str] = ()) -> Molecule:
        """The molecule that the tokens spell, joined with what the prompt keeps. Raises Invalid."""
        smiles = text(tokens)
        if KEEP in prompt:
            begin = list(prompt).index(KEEP) + 1
            kept = text([token for token in prompt[begin:] if token != MOL])
            return fragments.join(kept, smiles)
        mol = parse(smiles)
        if len(Chem.GetMolFrags(mol)) > 1:
            raise Invalid("molecules.several")
        return standardise(mol)

    def accept(self, record: Molecule, conditions: BaseModel) -> Molecule:
        """Refuses a molecule without the part to keep, outside a range, or equal to the one to resemble.

        A single value is a wish, not a limit: `deviations` says how far a molecule is from it.
        """
        asked = _asked(conditions)
        if asked.kept is not None and not fragments.contains(record.mol, asked.kept):
            raise Invalid("molecules.not_kept")
        if asked.like is not None and record.smiles == asked.like:
            raise Invalid("molecules.same")
        limits = {**asked.properties(), **({"similarity": asked.similarity} if asked.similarity else {})}
        ranges = {name for name, wanted in limits.items() if not wanted.single}
        for name, distance in self.deviations(record, conditions, ranges).items():
            if distance:
                raise Invalid("molecules.outside_asked", option=name, value=str(limits[name]))
        return record

    def deviations(self, record: Molecule, conditions: BaseModel, names: set[str] | None = None) -> dict[str, float]:
        """How far each property that was asked for (or only ``names``) is from what was asked; 0 within a range."""
        asked = _asked(conditions)
        found = {
            name: wanted.distance(PROPERTIES[name].compute(record.mol))
            for name, wanted in asked.properties().items()
            if names is None or name in names
        }
        if asked.like is not None and asked.similarity is not None and (names is None or "similarity" in names):
            found["similarity"] = asked.similarity.distance(fragments.similarity(parse(asked.like), record.mol))
        return found

    def row(self, record: Molecule, conditions: BaseModel | None = None) -> dict[str, Any]:
        """SMILES, the five properties, structural alerts, formula, heavy atoms, InChIKey, the nearest training molecule.

        Right behind the SMILES, where they were asked for: ``similarity`` to the given drug, and how far each property is
        from what was asked, as ``logp_off`` and so on.
        ``nearest_among`` says how many training molecules were searched: where these are not all of them, the similarity is a
        lower bound.
        """
        mol = record.mol
        with rdBase.BlockLogs():
            key = Chem.MolToInchiKey(mol)  # type: ignore[no-untyped-call]
        return {
            "smiles": record.smiles,
            **self._met(record, conditions),
            **{name: round(known.compute(mol), 3) for name, known in PROPERTIES.items()},
            "alerts": "; ".join(alerts(mol)),
            "formula": rdMolDescriptors.CalcMolFormula(mol),
            "heavy_atoms": mol.GetNumHeavyAtoms(),
            "inchikey": key,
            **self._nearest(record),
        }

    def _met(self, record: Molecule, conditions: BaseModel | None) -> dict[str, Any]:
        if conditions is None:
            return {}
        found: dict[str, Any] = {}
        like = _asked(conditions).like
        if like is not None:
            found["similarity"] = round(fragments.similarity(parse(like), record.mol), 3)
        off = self.deviations(record, conditions)
        return found | {f"{name}_off": round(distance, 3) for name, distance in off.items()}

    def _nearest(self, record: Molecule) -> dict[str, Any]:
        if self.neighbours is None:
            return {}
        similarity, smiles = self.neighbours.nearest([record.smiles])[0]
        searched = f"{len(self.neighbours.smiles)}/{self.neighbours.total}"
        return {"nearest_training": smiles, "nearest_similarity": round(similarity, 3), "nearest_among": searched}

    def revive(self, line: str) -> Molecule:
        """The molecule of a canonical SMILES that `dump` gave."""
        return Molecule(line)

    def write(self, records: Sequence[Molecule], rows: Sequence[Mapping[str, Any]], target: Path) -> None:
        """An SDF with 2D coordinates and all fields as properties, or a SMILES file."""
        write(rows, target)

    def figure(self, records: Sequence[Molecule], rows: Sequence[Mapping[str, Any]], kind: str) -> str | bytes:
        """A grid of the molecules with their properties, as SVG text or PNG bytes."""
        return grid(rows, kind)

    def render(self, record: Molecule) -> dict[str, str | bytes]:
        """The SMILES and the drawn molecule as SVG."""
        return {"text/plain": record.smiles, "image/svg+xml": molecule_svg(record.mol)}

    def render_explanation(
        self, record: Molecule, tokens: Sequence[str], scores: np.ndarray, attention: np.ndarray | None = None
    ) -> dict[str, str | bytes]:
        """The atoms coloured by their scores and, if given, the strongest attention between atoms as arcs, as SVG."""
        return {"image/svg+xml": explanation_svg(tokens, scores, attention)}

    def metrics(
        self,
        samples: Sequence[Raw | Invalid],
        references: Mapping[str, Sequence[Raw | Invalid]],
        step: Callable[[int, int], None] = lambda done, total: None,
    ) -> dict[str, Metric]:
        """The MOSES benchmark. ``references``: "train", "test" and perhaps "test_scaffolds"; none: those of MOSES."""
        from puji.modalities.molecules.metrics import References, moses, moses_references

        smiles: dict[str, Any] = {
            name: [_smiles(one) for one in found] for name, found in {**references, "": samples}.items()
        }
        generated = smiles.pop("")
        if not references:
            return moses(generated, moses_references(progress=step), progress=step)
        if not {"train", "test"} <= set(references) <= {"train", "test", "test_scaffolds"}:
            raise Invalid("molecules.references")
        return moses(generated, References.of(**smiles, progress=step), progress=step)


def _asked(given: BaseModel) -> conditions.Conditions:
    return given if isinstance(given, conditions.Conditions) else conditions.Conditions()


def _smiles(sample: Raw | Invalid) -> str:
    """The SMILES of a sample; empty, and so invalid, where none could be read."""
    return "" if isinstance(sample, Invalid) else str(sample.content)


def _from_block(block: str) -> Chem.Mol:
    """The molecule of a Mol block, sanitised, with stereochemistry from its coordinates. Raises Invalid."""
    with rdBase.BlockLogs():
        try:
            mol = Chem.MolFromMolBlock(block)
        except (ValueError, RuntimeError) as error:
            raise Invalid("molecules.unparsable") from error
    if mol is None:
        raise Invalid("molecules.unparsable")
    if mol.GetNumAtoms() == 0:
        raise Invalid("molecules.empty")
    return mol
