"""Random molecules that RDKit accepts: sketches of atoms and bonds, ordinary and exotic."""

from __future__ import annotations

import random

from rdkit import Chem
from rdkit.Chem import rdBase

_PARTS = """C CC c1ccccc1 N O F Cl Br I C=O C#N S(=O)(=O) P(=O)(O)O B(O)O c1ccncc1 c1ccsc1 c1cc[nH]c1 C=C C#C N=N [N+](=O)[O-]
[Si](C)(C)C [Se] [se]1cccc1 [nH]1cccc1 [n+]1ccccc1 [O-] [2H] [13CH3] [18F] [NH3+] [S-] [C@H](F)Cl [C@@](F)(Cl)Br
F/C=C/Cl F/C=C\\Br
[*:1] * [Na+] [Cl-] [Fe] [Pt+2] [Cu] [Zn+2] [As] [Te] [Hg] C1CC1 C1CCCCC1 C1CC2CCC1C2 C12C3C4C1C5C2C3C45 [H][H] [CH2] [CH3-] [OH-]
[S@](=O)(C)F [P@](C)(F)Cl [235U] [CH3:7] [nH+]1ccccc1 [o+]1ccccc1 O=C1C=CC(=O)C=C1 [BH4-] [AlH3] I(=O)=O"""

_WHOLE = r"""
C[C@H](N)C(=O)O
F/C=C/F
CC(=O)O[Hg]c1ccccc1
[NH3][Pt]([NH3])(Cl)Cl
[NH3]->[Pt]<-[NH3]
[Cl][Pt@SP1]([Cl])([NH3])[NH3]
[CH3][Co@OH5]([NH2])([F])([Cl])([Br])[I]
C[As](C)(=O)O
[O-][n+]1ccccc1
c1cc[o+]cc1
C[S@+]([O-])c1ccccc1
[2H]C([2H])([2H])O
C[Si](C)(C)C#C
OB(O)c1ccccc1
C[Se]C
c1cc[se]c1
c1cc[te]c1
O=[Os](=O)(=O)=O
[Na+].[Cl-]
[H][H]
[H+]
C[Mg]Br
C~C
C$C
[C-]#[O+]
CN(C)(C)->[Cu]
C1CN(C)->[Cu]<-N1C
[*:1]c1ccc([*:2])cc1
*c1ccccc1
C[14C](=O)[O-]
C1CCCCCCCCCCC1
O=C1[C@H]2CC[C@@H](C2)N1
C/C=C\C=C\C
CC=C=CC
[Fe+2].c1ccccc1
[U]
[235U+6]
C%10CCCCC%10
[CH3:12][OH:3]
F[P-](F)(F)(F)(F)F
FS(F)(F)(F)(F)F
O=I(=O)c1ccccc1
[Al+3]
c1ccc2c(c1)[nH]c1ccccc12
B1OC(C)(C)C(C)(C)O1
C[N@+]1(CC)CC[C@@H]1F
[Cl]->[Pd]
C1=C[Pd]2<-[Cl][Pd](C=C1)<-[Cl]2
[K+].[O-]Cl(=O)(=O)=O
[Xe](F)F
"""

PARTS, WHOLE = _PARTS.split(), _WHOLE.split()


def cage(size: int) -> str:
    """A ladder with more than nine open ring closures."""
    labels = [str(n) if n < 10 else f"%{n}" if n < 100 else f"%({n})" for n in range(1, size + 1)]
    return "C" + "C".join(f"C{label}" for label in labels) + "O" + "".join(f"C{label}" for label in labels)


def sketch(rng: random.Random) -> Chem.Mol | None:
    """One random molecule: parts tied together, charged, labelled, turned round; None where RDKit refuses it."""
    with rdBase.BlockLogs():
        mol = Chem.RWMol(Chem.MolFromSmiles(rng.choice(PARTS)))
        for _ in range(rng.randrange(8)):
            part = Chem.MolFromSmiles(rng.choice(PARTS))
            size = mol.GetNumAtoms()
            mol.InsertMol(part)
            if rng.random() < 0.9:
                first, second = rng.randrange(size), size + rng.randrange(part.GetNumAtoms())
                order = rng.choice([Chem.BondType.SINGLE] * 8 + [Chem.BondType.DOUBLE])
                if mol.GetAtomWithIdx(first).GetAtomicNum() in (7, 8, 15, 16, 17) and rng.random() < 0.1:
                    order = Chem.BondType.DATIVE
                mol.AddBond(first, second, order)
        for _ in range(rng.choice([0, 0, 1, 2, 4])):
            first, second = rng.randrange(mol.GetNumAtoms()), rng.randrange(mol.GetNumAtoms())
            if first != second and mol.GetBondBetweenAtoms(first, second) is None:
                mol.AddBond(first, second, Chem.BondType.SINGLE)
        for _ in range(rng.choice([0, 0, 1, 2])):
            atom = mol.GetAtomWithIdx(rng.randrange(mol.GetNumAtoms()))
            change = rng.randrange(5)
            if change == 0:
                atom.SetFormalCharge(rng.choice([-2, -1, 1, 2, 3]))
            elif change == 1:
                atom.SetIsotope(rng.choice([2, 13, 15, 99, 211]))
            elif change == 2:
                atom.SetAtomMapNum(rng.choice([1, 9, 12, 345]))
            elif change == 3:
                atom.SetAtomicNum(rng.randrange(1, 104))
            else:
                atom.SetChiralTag(rng.choice([Chem.ChiralType.CHI_TETRAHEDRAL_CW, Chem.ChiralType.CHI_TETRAHEDRAL_CCW]))
        try:
            Chem.SanitizeMol(mol)
            text = Chem.MolToSmiles(mol, doRandom=False)
            return Chem.MolFromSmiles(text)
        except (ValueError, RuntimeError):
            return None
