"""The gallery is one page that needs nothing else, in both languages; files appear whole or not at all."""

import errno
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from puji import files, gallery
from puji.errors import Invalid
from puji.gallery import Chapter, Figure, Section
from puji.language import Text

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><rect id="a" width="4" height="3"/></svg>'
PNG = b"\x89PNG\r\n\x1a\n"


def page(language="en", **changes):
    section = Section(
        Text("gallery.samples"),
        Text("gallery.samples.note", {"count": 2, "refused": 0, "attempts": 2}),
        [
            Figure(SVG, "C<C>&C", [("QED", "0.50")]),
            Figure({"en": SVG, "zh": PNG}, Text("gallery.title"), wide=True),
        ],
        [{"smiles": "<script>alert(1)</script>", "value": -1.5, "many": 12345, "yes": True, "none": None}],
        {"value": Text("gallery.origin")},
    )
    card = {"data": {"licence": "MIT", "sha256": "ab" * 32}, "note": "<b>"}
    options = {"name": "molecules", "card": card, "sections": [section], **changes}
    return gallery.page([Chapter(**options)], language, seed=5, date="2026-01-02")


class Reader(HTMLParser):
    """Checks that tags close in order and keeps what is looked at."""

    VOID = frozenset({"meta", "input", "img", "br", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.sources, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_is_well_formed_and_needs_nothing_else():
    reader = Reader()
    text = page()
    reader.feed(text)
    assert not reader.open
    assert not {"script", "link", "iframe", "object"} & set(reader.tags)
    assert reader.sources and all(source.startswith("data:image/") for source in reader.sources)
    outside = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:)([^\"')\s>]+)", text)
    assert not outside
    assert "<script>" not in text and "&lt;script&gt;" in text


def test_the_page_holds_both_languages_numbers_and_origin():
    text = page("zh")
    assert '<html lang="zh">' in text
    assert re.search(r'id="zh"[^>]*checked', text) and not re.search(r'id="en"[^>]*checked', text)
    for words in ("Research use, not for clinical decisions.", "仅供科研使用，不得用于临床决策。"):
        assert words in text
    assert "ab" * 32 in text and "MIT" in text
    assert "−1.50" in text and "12,345" in text
    assert "2026-01-02" in text and "seed 5" in text
    assert "@font-face" in text


def test_a_text_may_hold_a_text():
    inner = Text("cli.yes")
    assert Text("cli.note", {"text": inner}).text("zh") == "提示：是"


class Bare:
    """A model of a modality that has no demo of its own."""

    class modality:
        shown_by = ""

        @staticmethod
        def render(record):
            return {"text/plain": record, "image/svg+xml": SVG}

    @staticmethod
    def generate(n, seed):
        class Batch:
            records, rejected, attempts = ["a"] * n, [], n

            def rows(self):
                return [{"bare": "a"}] * n

            def refusals(self):
                return {}

            def __len__(self):
                return n

        return Batch()


def test_a_modality_without_a_demo_shows_samples():
    (section,) = gallery.demonstrate(Bare())
    assert len(section.figures) == 12 == len(section.table)
    assert "&lt;" not in gallery.page([Chapter("bare", {}, [section])], "en").split("<main>")[1][:400]


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "new.csv"
    files.atomic_write(target, "one\n")

    def fails(path):
        path.write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        files.atomic_write(target, fails)
    assert target.read_text() == "one\n"
    files.atomic_write(target, b"two\n")
    assert target.read_bytes() == b"two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "files.full"),
        (errno.EDQUOT, "files.full"),
        (errno.EROFS, "files.unwritable"),
        (errno.ENOENT, "files.unwritable"),  # as /proc says it: the folder is there
        (errno.EIO, "files.failed"),
    ],
)
def test_what_the_system_says_is_told_to_people(tmp_path, monkeypatch, number, reason):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    target = tmp_path / "new.csv"
    target.write_text("before")
    with pytest.raises(Invalid) as caught:
        files.atomic_write(target, "after")
    assert caught.value.reason == reason
    assert caught.value.source == str(target)
    assert target.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
from puji import files
from puji.errors import Invalid
from puji.tables import write_table
from pathlib import Path
rows = [{"name": f"{n:040d}"} for n in range(5000)]
for ending in ("txt", "csv", "jsonl", "parquet"):
    target = Path(sys.argv[1]) / f"new.{ending}"
    try:
        files.atomic_write(target, "x" * 9000) if ending == "txt" else write_table(rows, target)
    except Invalid as refusal:
        print(ending, refusal.reason)
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (
        done.stdout.split() == " ".join(f"{ending} files.full" for ending in ("txt", "csv", "jsonl", "parquet")).split()
    )
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    for path, reason in (
        (tmp_path / "missing" / "new.csv", "files.no_folder"),
        (tmp_path, "files.is_folder"),
        (tmp_path / ("n" * 300), "files.long_name"),
    ):
        for act in (files.check_writable, lambda path: files.atomic_write(path, "")):
            with pytest.raises(Invalid) as caught:
                act(path)
            assert caught.value.reason == reason
    assert not list(tmp_path.iterdir())


def test_links_and_rights_are_kept(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("before")
    real.chmod(0o600)
    link.symlink_to(real)
    files.atomic_write(link, "after")
    assert link.is_symlink() and real.read_text() == "after"
    assert real.stat().st_mode & 0o777 == 0o600


def test_a_device_is_written_not_replaced():
    files.atomic_write("/dev/null", "gone")
    assert not Path("/dev/null").is_file()


def test_a_titled_picture_is_not_cut_off():
    """Matplotlib's size is in points, that of the viewBox in pixels: the picture inside must have that of its viewBox."""
    from puji import figures

    with figures.canvas(4, 2) as figure:
        figure.subplots().plot([0, 1])
        told = figures.titled(figures.svg(figure), ["above"])
    inner = told[told.index("<svg", 5) :].partition(">")[0]
    assert 'width="288"' in inner and 'height="144"' in inner and "pt" not in inner
    assert told.startswith('<svg xmlns="http://www.w3.org/2000/svg" width="288" height="176"')
