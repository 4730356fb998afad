"""The model card that stands as README.md in a checkpoint folder: where the weights come from and what they are good for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from puji.language import LANGUAGES, translate
from puji.tables import flat

if TYPE_CHECKING:
    from puji.model import Model

TEMPLATE = """---
license: apache-2.0
library_name: transformers
tags: [medicine, {modality}, synthetic, cpu]
---

# {name}: a Puji model of {modality}

{research_use}

{about}
## Where it comes from

| | |
|---|---|
{provenance}

## Measured

{measured}

## Use

```python
import puji

model = puji.load("{name}")
print(model.generate(n=5, seed=0).frame())
```

It is also a plain Hugging Face folder: `AutoTokenizer.from_pretrained(folder)` and
`AutoModelForCausalLM.from_pretrained(folder)` open it without Puji.
"""


def card(model: Model[Any], *, about: str = "", measured: Mapping[str, str] | None = None) -> str:
    """The card of ``model``: its provenance as a table, ``about`` as prose, ``measured`` figures as name -> text."""
    training = model.provenance.get("training", {})
    lines = [f"| {name} | {value} |" for name, value in (measured or {}).items()]
    if not lines and training.get("nats_per_record") is not None:
        lines = [f"| nats per held-out record | {training['nats_per_record']:.3f} |"]
    return TEMPLATE.format(
        modality=model.modality.name,
        name=model.name,
        research_use=" ".join(translate("puji.research_use", language) for language in LANGUAGES),
        about=about + "\n" if about else "",
        provenance="\n".join(f"| {name} | {value} |" for name, value in flat(model.provenance)),
        measured="\n".join(["| | |", "|---|---|", *lines]) if lines else "Nothing yet.",
    )
