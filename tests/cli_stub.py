"""What the tests of the command line share: a model that needs no training, and running a line in this process."""

from dataclasses import asdict

import numpy as np

from puji.batch import Batch, Generated
from puji.cli import main
from puji.errors import Invalid
from puji.modalities.molecules.bins import BINS, STEPS
from puji.modalities.molecules.modality import Molecules
from puji.modalities.molecules.properties import PROPERTIES
from puji.modality import Answer, Estimate, Raw


class Stub:
    """A model that gives molecules from a list and remembers what it was asked."""

    name = "molecules"
    card = {"data": {"name": "moses", "sha256": "ab"}, "training": {"minutes": 3}}  # noqa: RUF012

    def __init__(self, smiles):
        self.modality = Molecules()
        self.modality.restore({"quantiles": {name: np.linspace(0, 1, BINS * STEPS + 1) for name in PROPERTIES}})
        self.smiles = smiles
        self.asked = {}
        self.fails = None
        self.most = None

    def empty_batch(self, seed, conditions):
        notes = self.modality.warnings(conditions)
        return Batch(self.modality, conditions, seed, {"synthetic": True, "model": "puji stub"}, notes=notes)

    def stream(self, n, batch, how=None):
        self.batch, seed = batch, batch.seed
        self.asked = {"n": n, "seed": seed, **(asdict(how) if how else {})}
        for _ in range(2):
            batch.refuse(Invalid("molecules.unparsable"))
        batch.attempts += 2
        for draw in range(n if self.most is None else min(n, self.most)):
            if self.fails and draw == 2:
                raise self.fails
            batch.attempts += 1
            yield Generated(self.modality.parse(self.smiles[(seed + draw) % len(self.smiles)]), -1.5, draw, ())

    def generate(self, n=1, *, seed=0, conditions=None, **asked):
        if conditions is None:
            names = Molecules.Conditions.model_fields
            conditions = Molecules.Conditions(**{name: asked.pop(name) for name in list(asked) if name in names})
        batch = self.empty_batch(seed, conditions)
        batch.generated += self.stream(n, batch)
        return batch

    def record(self, given):
        return self.modality.preprocess(given) if isinstance(given, Raw) else self.modality.parse(given)

    def predict(self, record, ask=None, seed=0):
        self.seed = seed
        names = ask.properties if ask else ("logp", "qed")
        return Answer({name: Estimate(2.5, 1.0, 4.0, "") for name in names}, -20.0, False, ("predict.unfamiliar",))

    def familiar(self, record):
        return False

    def explain(self, record, *, target, method="integrated_gradients"):
        from puji.explanation import Explanation  # imports torch

        record = self.modality.parse(record) if isinstance(record, str) else record
        tokens = self.modality.encode(record)
        scores = np.linspace(-1, 1, len(tokens))
        pictures = self.modality.render_explanation(record, tokens, scores, None)
        pieces = self.modality.pieces(record, tokens)
        seen = np.eye(len(tokens))
        return Explanation("molecules", target, method, tokens, scores, seen, 2.25, 1e-4, pieces, pictures)

    def embed(self, records):
        return np.arange(3 * len(records), dtype=np.float32).reshape(-1, 3)


def runner(capsys):
    """A function that runs a command line: (exit code, stdout, stderr)."""

    def runs(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runs
