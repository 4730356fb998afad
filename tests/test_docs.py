"""The Python in the READMEs and the docs runs, and the commands they name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import puji

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
CODE = [
    (page.name, number, body)
    for page in PAGES
    for number, (language, body) in enumerate(BLOCK.findall(page.read_text("utf-8")))
    if language == "python"
]
COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for page in PAGES
        for language, body in BLOCK.findall(page.read_text("utf-8"))
        if language in ("bash", "sh", "shell")
        for line in body.splitlines()
        if line.startswith(("puji ", "make "))
    }
)


@pytest.mark.parametrize(("page", "number", "body"), CODE, ids=[f"{page}-{number}" for page, number, _ in CODE])
def test_python_runs(page, number, body, tmp_path):
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "mine.smi").write_text((ROOT / "tests" / "data" / "molecules.smi").read_text())
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", body],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist(command):
    words = command.split()
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert words[1] in targets
        return
    # The whole line is parsed by the program itself, with --help in place of running it.
    done = subprocess.run(
        [sys.executable, "-m", "puji.cli", *words[1:], "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    options = {word.split("=")[0] for word in words if word.startswith("--")}
    assert all(option in done.stdout for option in options), (options, done.stdout)


def test_both_readmes_name_the_same_commands_and_code():
    def parts(name):
        return [re.sub(r"\s+#.*", "", body) for language, body in BLOCK.findall((ROOT / name).read_text("utf-8"))]

    assert parts("README.md") == parts("README.zh.md")


def test_a_released_checkpoint_is_there():
    assert "molecules" in puji.shipped()
