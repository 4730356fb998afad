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
# Outside GB 2312's level 1, but common on a ward or in a chemistry laboratory.
MEDICAL = (
    "癌瘤疹痘痒痢痧瘀瘙瘫痹痿疸疟疝疽痔痈癫痫癣瘢瘪瘘胰胱胛胫腓腘腱膈髌髋髂颅颌颞颈颧咽喉龈腭睾阴阜膀肛肋胝脐腋"
    "喹哌嗪嘌呤嘧啶吡咯啉唑嗪噻吩呋喃酰胺酯醚酮酚醛烷烯炔羟羧羰巯氨胍肼腙脒腈苷苯萘蒽菲茚酐酞肟甾萜羧氯溴碘氟硼硒硅"
    "肽酶苄酊栓剂溶胶囊注射霉菌衣支螺杆弧链球葡萄嗜铬细胞粒巨噬淋巴腺髓鞘突触膜蛋白脂糖苷嗜碱酸钾钠钙镁锌铁铜铂锂"
    "梗栓塞狭窄瓣膜房室颤搏悸眩晕厥昏迷谵妄瞳孔虹膜晶状视网角膜鼓耵聍鼾哮喘咳嗽痰咯血紫绀褥疮坏疽瘘脓肿瘿瘰疬癔痉挛"
    "阑尾疱疹麻疹狂犬霍乱伤寒鼠疫疟疾钩端螺旋体梅毒淋病艾滋结核肝炎肾炎肺炎脑炎髓炎胰腺炎胆囊炎阑尾炎氘氚铈钆锝碲锑铋砷"
)


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
    wanted.update(MEDICAL)
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
