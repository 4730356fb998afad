"""The look of Puji's figures, in English and Chinese, without a font from the system.

The font in ``fonts/`` is a subset of Noto Sans CJK SC under the SIL Open Font License (see ``fonts/OFL.txt``).
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puji.errors import Invalid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FONT = Path(__file__).parent / "fonts" / "PujiSansSC-Regular.otf"
FAMILY = "Puji Sans SC"
ENDINGS = {"image/svg+xml": ".svg", "image/png": ".png"}
"""Of files of pictures, by their MIME type."""

INK, GREY, RULE, ACCENT = "#17323a", "#5d7378", "#d9e2e1", "#0b7a75"
CYCLE = (ACCENT, "#d1495b", "#e09f3e", "#30638e", "#7b5ea7", "#6a994e")


@cache
def style() -> dict[str, Any]:
    """Matplotlib settings (rcParams) of every figure; the Chinese font is registered on the first call."""
    from cycler import cycler
    from matplotlib import font_manager

    font_manager.fontManager.addfont(str(FONT))
    return {
        # Glyphs that the subset lacks (rare hanzi excepted) come from the font that matplotlib carries.
        "font.family": [FAMILY, "DejaVu Sans"],
        "font.size": 10.5,
        "axes.unicode_minus": True,
        "svg.fonttype": "path",
        "svg.hashsalt": "puji",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.facecolor": "none",
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.titlesize": 11.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=CYCLE),
        "text.color": INK,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "grid.color": RULE,
        "grid.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        "lines.solid_capstyle": "round",
    }


@contextmanager
def canvas(width: float = 6.4, height: float = 3.6) -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` inches in Puji's style; draw and export it inside the ``with``."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = style()
    with matplotlib.rc_context(settings):
        yield Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure) -> str:
    """``figure`` as one ``<svg>`` element, the same bytes each time; text is drawn as outlines."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure, dpi: int = 150) -> bytes:
    """``figure`` as a PNG picture on white."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def check(kind: str, modality: str) -> None:
    """Raise Invalid if ``kind`` is neither "svg" nor "png"."""
    if kind not in ("svg", "png"):
        raise Invalid("write.figure", modality=modality)


def drawn(figure: Figure, kind: str) -> str | bytes:
    """``figure`` as `svg` or `png`."""
    return svg(figure) if kind == "svg" else png(figure)


def outlined(text: str, x: float, y: float, size: float, colour: str = INK) -> str:
    """``text`` in one line as an SVG path that needs no font; its baseline begins at (``x``, ``y``)."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path as Outline
    from matplotlib.textpath import TextPath

    letters = {
        Outline.MOVETO: "M",
        Outline.LINETO: "L",
        Outline.CURVE3: "Q",
        Outline.CURVE4: "C",
        Outline.CLOSEPOLY: "Z",
    }
    drawn = TextPath((0, 0), text, size=size, prop=FontProperties(fname=str(FONT)))
    told = []
    for points, code in drawn.iter_segments(simplify=False, curves=True):
        pairs = points.reshape(-1, 2) * (1, -1) + (x, y)
        told.append(
            letters[code] + ("" if code == Outline.CLOSEPOLY else " ".join(f"{a:.2f},{b:.2f}" for a, b in pairs))
        )
    return f'<path d="{"".join(told)}" fill="{colour}"><title>{escape(text)}</title></path>'


def titled(picture: str, lines: Sequence[str]) -> str:
    """An ``<svg>`` of known ``viewBox`` with ``lines`` above it, the first one larger."""
    _, _, width, height = (float(number) for number in re.search(r'viewBox="([^"]*)"', picture)[1].split())  # type: ignore[index]
    top = 20.0 * len(lines) + 12
    texts = [outlined(text, 12, 24 + 20 * row, 15 if row == 0 else 12) for row, text in enumerate(lines)]
    # Matplotlib tells its size in points, a third more than the units of its viewBox: left so, the outer picture cuts it off.
    opening = re.search("<svg[^>]*>", picture)[0]  # type: ignore[index]
    plain = re.sub(r"""\s(?:width|height)=(?:"[^"]*"|'[^']*')""", "", opening)
    sized = plain.replace("<svg", f'<svg y="{top:g}" width="{width:g}" height="{height:g}"', 1)
    body = picture.replace(opening, sized, 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height + top:g}" '
        f'viewBox="0 0 {width:g} {height + top:g}">{"".join(texts)}{body}</svg>'
    )


def font_face(texts: Iterable[str]) -> str:
    """A CSS ``@font-face`` rule with the part of the font that writes ``texts``, for a page without network."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    font = TTFont(FONT, recalcTimestamp=False)
    options = subset.Options()
    options.flavor = "woff"
    options.notdef_outline = True
    options.name_IDs = [0, 1, 2, 13, 14]
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(set("".join(texts)))))
    cutter.subset(font)
    font.flavor = "woff"
    buffer = io.BytesIO()
    font.save(buffer)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'@font-face{{font-family:"{FAMILY}";src:url(data:font/woff;base64,{data}) format("woff");font-display:swap}}'
    )
