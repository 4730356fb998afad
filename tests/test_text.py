"""Text files as people have them."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import puji.text
from puji.errors import Invalid
from puji.text import LOOKED_AT, lines

COMMON = [bytes((high, low)).decode("gb2312") for high in range(0xB0, 0xD7) for low in range(0xA1, 0xFF)]
"""The 3,666 usual characters of Chinese (first level of GB 2312, without its last row)."""


def outcomes(path: Path, **options: int) -> list[object]:
    found: list[object] = []
    try:
        for one in lines(path, **options):
            found.append((one.reason, one.line) if isinstance(one, Invalid) else one)
    except Invalid as refusal:
        found.append((refusal.reason, refusal.line))
    return found


TOLD = ["SMILES,名称", "CCO,乙醇", "", "CC(=O)O,醋酸"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("packed", [False, True])
def test_any_encoding_and_line_end(tmp_path: Path, end: str, encoding: str, packed: bool) -> None:
    content = end.join(TOLD).encode(encoding)
    path = tmp_path / "a.csv"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert outcomes(path) == list(enumerate(TOLD, 1))


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=30), min_size=1)
)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes("".join(line + "\n" for line in told).encode("utf-8-sig"))
    assert outcomes(path) == list(enumerate(told, 1))


@settings(deadline=None)
@given(st.lists(st.text(st.one_of(st.sampled_from(COMMON), st.characters(codec="ascii", exclude_categories=["Cc"])))))
def test_chinese_of_either_encoding_is_read(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> None:
    told = ["患者", *told]
    for encoding in ("utf-8", "gb18030"):
        path = tmp_path_factory.mktemp("text") / "a.txt"
        path.write_bytes("".join(line + "\n" for line in told).encode(encoding))
        assert outcomes(path) == list(enumerate(told, 1))


def test_a_character_of_two_bytes_is_always_one_of_gb18030_too() -> None:
    for code in range(0x80, 0x800):
        assert len(chr(code).encode("utf-8").decode("gb18030")) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("packed", [False, True])
def test_lines_that_could_be_both_wait_for_one_that_tells(tmp_path: Path, encoding: str, packed: bool) -> None:
    # In GB18030 the word for "female" is also a Latin letter with a ring in UTF-8.
    told = ["id,sex", "1,女", "2,", "3,女", "4,男", "5,女", "6,37°C"]
    told = told[: 6 if encoding == "gb18030" else 7]
    path = tmp_path / "a.csv"
    content = "".join(line + "\n" for line in told).encode(encoding)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert outcomes(path) == list(enumerate(told, 1))


def test_lines_that_could_be_both_are_utf_8_if_none_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = ["id,name", "1,José", "2,5 µg"]
    path = tmp_path / "a.csv"
    path.write_text("\n".join(told), "utf-8")
    assert outcomes(path) == list(enumerate(told, 1))
    monkeypatch.setattr(puji.text, "WAITING", 10)
    path.write_bytes("1,José\n2,José\n3,Zoë\n".encode() + "4,患者\n5,女\n".encode("gb18030"))
    assert outcomes(path) == list(enumerate(["1,José", "2,José", "3,Zoë", "4,患者", "5,女"], 1))


def test_files_put_together_are_read(tmp_path: Path) -> None:
    told = ["患者", "女", "37°C", "患者", "女", "男", "患者", "37°C"]
    encodings = ["utf-8"] * 3 + ["gb18030"] * 3 + ["utf-8"] * 2
    path = tmp_path / "a.csv"
    path.write_bytes(b"".join((line + "\n").encode(one) for line, one in zip(told, encodings, strict=True)))
    assert outcomes(path) == list(enumerate(told, 1))


def test_a_line_cut_within_a_character_is_refused_not_taken_for_another_encoding(tmp_path: Path) -> None:
    cut = "糖尿病".encode()[:-1] + b",2020\n"
    assert cut.decode("gb18030")
    path = tmp_path / "a.csv"
    path.write_bytes("诊断\n".encode() + cut + "37°C\n".encode())
    assert outcomes(path) == [(1, "诊断"), ("text.encoding", 2), (3, "37°C")]


def test_half_a_character_of_utf_16_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("一\n".encode("utf-16") + b"\x00\xd8" + "\n二".encode("utf-16-le"))
    assert outcomes(path) == [(1, "一"), ("text.encoding", 2), (3, "二")]


def test_bad_lines_are_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    filler = b"C" * 100 + b"\n"
    path.write_bytes(filler * (LOOKED_AT // 100) + b"C\0C\nCC\n" + b"N" * 500 + b"\nO\n\xff\xff\xff\nF\n")
    found = outcomes(path, longest=200)[LOOKED_AT // 100 :]
    first = LOOKED_AT // 100 + 1
    assert found == [
        ("text.nul", first),
        (first + 1, "CC"),
        ("text.long_line", first + 2),
        (first + 3, "O"),
        ("text.encoding", first + 4),
        (first + 5, "F"),
    ]


def test_a_file_cut_off_says_where(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    whole = gzip.compress(b"".join(b"%d\n" % (number**5) for number in range(20_000)))
    path.write_bytes(whole[: len(whole) // 2])
    *read, last = outcomes(path)
    assert 1000 < len(read) < 20_000 and read[-1] == (len(read), str((len(read) - 1) ** 5))
    assert last == ("text.damaged", len(read) + 1)
    whole = gzip.compress("".join(f"{number**5} µg\n" for number in range(20_000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    *read, last = outcomes(path)
    assert 1000 < len(read) < 20_000 and read[-1] == (len(read), f"{(len(read) - 1) ** 5} µg")
    assert last == ("text.damaged", len(read) + 1)
