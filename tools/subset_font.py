"""Cut the Chinese font that Puji ships out of Noto Sans CJK.

    python tools/subset_font.py NotoSansCJK-Regular.ttc src/puji/fonts/PujiSansSC-Regular.otf

The source is in Debian's package ``fonts-noto-cjk`` (SIL Open Font License 1.1, which lets a changed font be passed on
under the same licence and another name). Kept: ASCII, Latin-1, Greek, the punctuation and symbols of GB 2312, its
6,763 hanzi, and every character of the message catalogues: a user's own names of codes stand in pictures, too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

ROOT = Path(__file__).resolve().parent.parent
FAMILY = "Puji Sans SC"


def characters() -> set[str]:
    """What the subset must be able to write."""
    wanted = {chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100), *range(0x391, 0x3CA))}
    for high in range(0xA1, 0xF8):
        # Rows 1-3 and 6 are punctuation, symbols, full-width ASCII and Greek; rows 16-87 are the hanzi.
        if high in (0xA1, 0xA2, 0xA3, 0xA6) or high >= 0xB0:
            for low in range(0xA1, 0xFF):
                try:
                    wanted.add(bytes((high, low)).decode("gb2312"))
                except UnicodeDecodeError:
                    continue
    wanted.update("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₊₋–—‘’“”…•·×÷±≤≥≈≠→←↑↓√∞∑∫∂Δ°℃µ‰Åα✓✗")
    wanted.add("腘")  # of the anatomy of the leg, outside GB 2312
    for catalogue in (ROOT / "src" / "puji").rglob("messages/*.json"):
        wanted.update(catalogue.read_text("utf-8"))
    return {character for character in wanted if character.isprintable()}


def source_font(path: Path) -> TTFont:
    """The simplified-Chinese face of ``path``, which may be a collection."""
    if path.suffix.lower() not in (".ttc", ".otc"):
        return TTFont(path)
    for font in TTCollection(path, lazy=True).fonts:
        if font["name"].getDebugName(1) == "Noto Sans CJK SC":
            return font
    raise SystemExit(f"{path}: no face named Noto Sans CJK SC")


def cut(source: Path, target: Path) -> None:
    """Write the subset of ``source`` to ``target``, renamed as the licence asks."""
    font = source_font(source)
    options = subset.Options()
    options.layout_features = ["kern", "liga", "locl"]
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 7, 13, 14]
    options.hinting = False
    options.desubroutinize = False
    options.drop_tables += ["vhea", "vmtx", "VORG", "BASE", "GPOS"]
    options.glyph_names = False
    cutter = subset.Subsetter(options)
    wanted = characters()
    cutter.populate(unicodes=[ord(character) for character in wanted])
    cutter.subset(font)
    names = font["name"]
    names.names = [record for record in names.names if record.langID == 0x409]
    for identifier, text in (
        (1, FAMILY),
        (3, f"{FAMILY} Regular"),
        (4, f"{FAMILY} Regular"),
        (6, "PujiSansSC-Regular"),
    ):
        names.setName(text, identifier, 3, 1, 0x409)
    postscript = font["CFF "].cff
    postscript.fontNames[0] = "PujiSansSC-Regular"
    postscript.topDictIndex[0].FullName = f"{FAMILY} Regular"
    postscript.topDictIndex[0].FamilyName = FAMILY
    font["head"].modified = font["head"].created
    font.recalcTimestamp = False
    target.parent.mkdir(parents=True, exist_ok=True)
    font.save(target)
    missing = sorted(wanted - {chr(code) for code in TTFont(target).getBestCmap()})
    print(f"{target}: {target.stat().st_size:,} bytes, {len(wanted) - len(missing)} characters", file=sys.stderr)
    if missing:
        print(f"not in the source: {''.join(missing)}", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    cut(arguments.source, arguments.target)
