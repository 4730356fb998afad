"""What a medicinal chemist asks of a molecule: computed properties, structural alerts, the MOSES filter.

Every function takes an RDKit molecule that has been sanitised (``Chem.MolFromSmiles`` does that).
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from rdkit import Chem
from rdkit.Chem import QED, Descriptors, FilterCatalog, RDConfig, rdMolDescriptors

from puji.errors import Invalid
from puji.modalities.molecules.filters import MOSES_ATOMS, mcf_alerts, passes_moses_filters


@cache
def _sascorer() -> ModuleType:
    """RDKit's Contrib/SA_Score, loaded by path so that ``sys.path`` stays as it is."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("puji_rdkit_sascorer", path)
    if spec is None or spec.loader is None or not path.exists():
        raise Invalid("molecules.no_sa_score", path=path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # The fragment scores are a pickle inside the installed RDKit wheel: RDKit's own file, trusted as RDKit's code is.
    # It is opened and never closed there, hence the filter.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        module.readFragmentScores()
    return module


def sa_score(mol: Chem.Mol) -> float:
    """Synthetic accessibility from 1 (easy) to 10 (hard): Ertl and Schuffenhauer, J. Cheminf. 1:8 (2009)."""
    return float(_sascorer().calculateScore(mol))


def _qed(mol: Chem.Mol) -> float:
    return float(QED.qed(mol))  # type: ignore[no-untyped-call,unused-ignore]


def _weight(mol: Chem.Mol) -> float:
    return float(Descriptors.MolWt(mol))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Property:
    """A number that describes a molecule.

    ``lowest`` and ``highest`` are the values beyond which no small molecule can lie: exact bounds for QED, SA and the
    lower ones of TPSA and weight; elsewhere wide round numbers for what fits into the model's context.
    """

    name: str
    unit: str
    compute: Callable[[Chem.Mol], float]
    lowest: float
    highest: float


PROPERTIES: Mapping[str, Property] = MappingProxyType(
    {
        p.name: p
        for p in (
            # Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39:868 (1999).
            Property("logp", "", lambda mol: float(rdMolDescriptors.CalcCrippenDescriptors(mol)[0]), -20.0, 30.0),
            # Ertl, Rohde and Selzer, J. Med. Chem. 43:3714 (2000), N and O only as in RDKit's default.
            Property("tpsa", "Å²", lambda mol: float(rdMolDescriptors.CalcTPSA(mol)), 0.0, 1000.0),
            # Bickerton et al., Nature Chem. 4:90 (2012), RDKit's default weights.
            Property("qed", "", _qed, 0.0, 1.0),
            Property("sa", "", sa_score, 1.0, 10.0),
            Property("weight", "g/mol", _weight, 1.0, 2500.0),
        )
    }
)


@cache
def _pains() -> FilterCatalog.FilterCatalog:
    parameters = FilterCatalog.FilterCatalogParams()
    parameters.AddCatalog(FilterCatalog.FilterCatalogParams.FilterCatalogs.PAINS)
    return FilterCatalog.FilterCatalog(parameters)


def alerts(mol: Chem.Mol) -> list[str]:
    """Structural alerts: ``"PAINS anil_di_alk_A(478)"`` (sets A, B and C) and ``"MCF7 aldehyde"``; empty if there are none.

    PAINS (frequent hitters in screens): Baell and Holloway, J. Med. Chem. 53:2719 (2010), as in RDKit's catalogue.
    MCF (reactive or unstable groups): the medicinal chemistry filters of MOSES, see `mcf_alerts`.
    """
    return [f"PAINS {entry.GetDescription()}" for entry in _pains().GetMatches(mol)] + mcf_alerts(mol)


__all__ = ["MOSES_ATOMS", "PROPERTIES", "Property", "alerts", "passes_moses_filters", "sa_score"]
