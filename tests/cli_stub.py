"""What the tests of the command line share: a model that needs no training, and running a line in this process."""

from types import SimpleNamespace

import numpy as np

from puji.batch import Batch, Generated
from puji.cli import main
from puji.errors import Invalid
from puji.modalities.molecules.modality import Molecules
from puji.modality import Answer, Estimate


class Stub:
    """A model that gives molecules from a list and remembers what it was asked."""

    name = "molecules"
    card = {"data": {"name": "moses", "sha256": "ab"}, "training": {"minutes": 3}}  # noqa: RUF012

    def __init__(self, smiles):
        self.modality = Molecules()
        self.smiles = smiles
        self.asked = {}
        self.fails = None

    def empty_batch(self, seed, conditions):
        return Batch(self.modality, conditions, seed, {"synthetic": True, "model": "puji stub"})

    def stream(self, n=1, *, seed=0, **asked):
        self.asked = {"n": n, "seed": seed, **asked}
        for draw in range(n):
            if self.fails and draw == 2:
                raise self.fails
            yield Generated(self.modality.parse(self.smiles[(seed + draw) % len(self.smiles)]), -1.5, draw, ())

    def generate(self, n=1, *, seed=0, on_record=None, conditions=None, **asked):
        if conditions is None:
            names = Molecules.Conditions.model_fields
            conditions = Molecules.Conditions(**{name: asked.pop(name) for name in list(asked) if name in names})
        batch = self.empty_batch(seed, conditions)
        for one in self.stream(n, seed=seed, conditions=conditions, **asked):
            batch.generated.append(one)
            if on_record:
                on_record(one)
        batch.rejected = [Invalid("molecules.unparsable"), Invalid("molecules.unparsable")]
        batch.attempts = n + 2
        return batch

    def read(self, path):
        for raw in self.modality.read(path):
            try:
                yield raw if isinstance(raw, Invalid) else self.modality.preprocess(raw)
            except Invalid as refusal:
                yield refusal.at(raw.source, raw.line)

    def record(self, text):
        return self.modality.parse(text)

    def predict(self, record, ask=None):
        names = ask.properties if ask else ("logp", "qed")
        return Answer({name: Estimate(2.5, 1.0, 4.0, "") for name in names}, -20.0, False, ("predict.unfamiliar",))

    def explain(self, record, *, target, method="integrated_gradients"):
        record = self.modality.parse(record) if isinstance(record, str) else record
        tokens = self.modality.encode(record)
        scores = np.linspace(-1, 1, len(tokens))
        pictures = self.modality.render_explanation(record, tokens, scores, None)
        rows = [{"place": n, "token": token, "score": float(scores[n])} for n, token in enumerate(tokens)]
        found = SimpleNamespace(pictures=pictures, rows=lambda: rows, value=2.25, completeness_error=1e-4)
        found.save = lambda path: path.write_text(pictures["image/svg+xml"])
        return found

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
