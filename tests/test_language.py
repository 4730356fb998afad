"""Both languages say the same: equal keys, equal fields, a text for every refusal, Chinese written as Chinese."""

import ast
import json
import re
import string
import warnings
from pathlib import Path

import pytest

from puji import figures, language
from puji.errors import Invalid
from puji.language import LANGUAGES

SOURCE = Path(language.__file__).parent
FOLDERS = language.folders()
# The first fields of these calls are message keys.
SPEAKERS = {"Invalid", "translate", "note", "Text", "_both", "tell", "unknown"}


def texts(folder, name):
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def everything(name):
    return {key: text for folder in FOLDERS for key, text in texts(folder, name).items()}


def keys_in_source():
    """(file, line, key) of every message key that is written out in the source."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[0] if node.args else None
                key = first.value if isinstance(first, ast.Constant) else None
                if name in SPEAKERS and isinstance(key, str) and re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", key):
                    yield path.name, node.lineno, key


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_both_languages_have_the_same_keys_and_fields(folder):
    english, chinese = texts(folder, "en"), texts(folder, "zh")
    assert english, f"{folder} is empty"
    assert set(english) == set(chinese)
    differing = {key for key in english if fields(english[key]) != fields(chinese[key])}
    assert not differing


def test_no_two_catalogues_share_a_key():
    seen = {}
    for folder in FOLDERS:
        for key in texts(folder, "en"):
            assert seen.setdefault(key, folder) == folder, key


def test_every_key_in_the_source_has_a_text():
    known = everything("en")
    found = list(keys_in_source())
    assert len(found) > 100
    missing = [place for place in found if place[2] not in known]
    assert not missing


def test_chinese_is_written_as_chinese():
    hanzi = re.compile(r"[一-鿿]")
    # After a hanzi or a field, a half-width comma, colon, semicolon, question or exclamation mark is a slip.
    slip = re.compile(r"[一-鿿}][,;:?!]|[一-鿿]\(|\)[一-鿿]|[一-鿿]\.(?![a-z0-9])")
    for key, text in everything("zh").items():
        prose = re.sub(r"\s{2}\S.*", "", text)  # examples of commands
        assert hanzi.search(text) or not re.search(r"[A-Za-z]{3} [a-z]{2}", text), key
        assert not slip.search(prose), f"{key}: {slip.search(prose)[0]}"


def test_english_holds_no_chinese():
    for key, text in everything("en").items():
        assert not re.search(r"[一-鿿，。：；]", text), key


def test_every_text_takes_its_fields():
    for name in LANGUAGES:
        for key, text in everything(name).items():
            for field in fields(text):
                assert re.fullmatch(r"[a-z_]+", field), f"{key}: {field!r}"


def test_a_missing_text_or_field_hides_nothing():
    assert language.translate("nowhere.said", "en", line=3) == "nowhere.said {'line': 3}"
    assert "{why}" in language.translate("files.failed", "en", other=1)
    assert "other" in language.translate("files.failed", "en", other=1)
    assert "many" in language.translate("cli.generated", "en", made="many", wanted="more")


def test_the_environment_chooses_the_language(monkeypatch):
    before = language.chosen()
    try:
        language.use(None)
        for name in ("PUJI_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("LANG", "zh_CN.UTF-8")
        assert language.current() == "zh"
        monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
        assert language.current() == "en"
        monkeypatch.setenv("PUJI_LANG", "zh")
        assert language.current() == "zh"
        language.use("en")
        assert language.current() == "en"
        with pytest.raises(ValueError, match="fr"):
            language.use("fr")
    finally:
        language.use(before)


def test_refusals_speak_both_languages_and_keep_their_place():
    refusal = Invalid("files.full", source="new.csv").at("other.csv", 4)
    assert refusal.message("en").startswith("new.csv")
    assert "磁盘已满" in refusal.message("zh")
    assert Invalid("files.full").at("a.smi", 7).message("en").startswith("a.smi:7: ")


def test_the_font_writes_every_chinese_text():
    from fontTools.ttLib import TTFont

    known = set(TTFont(figures.FONT).getBestCmap())
    wanted = {character for text in everything("zh").values() for character in text if character.isprintable()}
    # Signs that the font lacks come from the font that Matplotlib carries.
    lacking = {character for character in wanted if ord(character) not in known and ord(character) >= 0x2E80}
    assert not lacking, "cut the font again: tools/subset_font.py"


def test_figures_draw_chinese_without_a_warning():
    words = "".join(sorted({character for text in everything("zh").values() for character in text}))
    words = "".join(character for character in words if character.isprintable() and character not in "$\\")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with figures.canvas(8, 8) as figure:
            for line in range(0, len(words), 60):
                figure.text(0, 1 - line / len(words), words[line : line + 60])
            drawn = figures.svg(figure)
            picture = figures.png(figure, dpi=40)
    assert drawn.startswith("<svg")
    assert picture.startswith(b"\x89PNG")
    assert "PujiSansSC" in drawn


def test_figures_are_the_same_bytes_each_time():
    def draw():
        with figures.canvas() as figure:
            figure.subplots().plot([1, 2, 3])
            return figures.svg(figure)

    assert draw() == draw()


def test_the_font_carries_its_licence():
    from fontTools.ttLib import TTFont

    licence = (figures.FONT.parent / "OFL.txt").read_text("utf-8")
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence
    assert "OTHER DEALINGS IN THE FONT SOFTWARE" in licence
    names = TTFont(figures.FONT)["name"]
    assert "SIL Open Font License" in names.getDebugName(13)
    # The licence reserves the name Source; Noto is a trademark: a changed font must carry another.
    assert names.getDebugName(1) == figures.FAMILY
    assert figures.FONT.stat().st_size < 3_000_000
