"""Text files as people have them."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puji.errors import Invalid
from puji.text import LOOKED_AT, lines


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


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=30), min_size=1)
)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> None:
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes("".join(line + "\n" for line in told).encode("utf-8-sig"))
    assert outcomes(path) == list(enumerate(told, 1))


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
