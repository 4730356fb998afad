"""The command line and what stands around it: pipes, closed streams, narrow encodings, terminals, full disks."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIPE = """
import sys
import puji
from puji.cli import main
from tests.cli_stub import Stub
puji.load = lambda name: Stub(["CCO", "c1ccccc1"])
sys.exit(main(["generate", "molecules", "-n", sys.argv[1], "--format", "csv"]))
"""


def test_a_reader_that_goes_away_is_no_error():
    with subprocess.Popen(
        [sys.executable, "-c", PIPE, "300"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=120) == 141
    assert "Traceback" not in err and "Exception" not in err


@pytest.mark.parametrize("encoding", ["gbk", "ascii", "latin-1"])
def test_a_narrow_encoding_is_no_error(encoding):
    """Å² is not in GBK, nothing Chinese in Latin-1."""
    code = (
        "from puji.cli import main; from puji.commands.output import print_table, rows_to\n"
        "main(['generate', 'molecules', '--help']), main(['--help', '--lang', 'zh'])\n"
        "print_table([{'a': 'Å² – 癌', 'b': 1}] * 2)\n"
        "with rows_to(None, 'jsonl') as rows: rows.write({'c': '癌'})"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout.decode(encoding, "replace").splitlines()
    assert table[-1] == ('{"c": "癌"}' if encoding == "gbk" else '{"c": "\\u764c"}')
    assert any(
        "A2 – 癌" in line if encoding == "gbk" else "A2 - \\u764c" in line or "Å² - \\u764c" in line for line in table
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_closed_stdout_or_stderr_is_told_or_borne():
    puji_ = f"{sys.executable} -m puji.cli"
    for line, code, says in (
        (f"{puji_} list >&-", 2, "--out"),
        (f"{puji_} --help >&-", 0, ""),
        (f"{puji_} x 2>&-", 2, ""),
    ):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60)
        assert done.returncode == code
        assert says in done.stderr and "Traceback" not in done.stderr and "AttributeError" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_progress_bar_leaves_the_rows_to_the_pipe():
    terminal, inside = os.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", PIPE, "20"],  # few: nobody reads what the bar writes
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=inside,
        text=True,
        timeout=120,
        env=environment,
    )
    os.close(inside)
    os.close(terminal)
    assert done.returncode == 0
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 20


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110
def test_a_full_disk_behind_stdout_is_told():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "puji.cli", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: the disk is full; nothing was written.\n"
