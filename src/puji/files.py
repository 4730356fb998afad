"""Writing files whole or not at all: a reader never sees half a file, and a failure leaves what was there before."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from puji.errors import Invalid

SCARCE = 1_000_000
"""Bytes; a disk with less room counts as full when writing failed."""
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def system_error(error: Exception) -> int | None:
    """The number of the system's error behind ``error``; None if it is of another kind.

    Polars, like other libraries in Rust, gives it in words only: "... (os error 28)".
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def refusal(error: Exception, path: Path) -> Invalid:
    """``error``, which stood in the way of writing ``path``, told for people."""
    source, number = str(path), system_error(error)
    if number in FULL:
        return Invalid("files.full", source=source)
    # A system folder such as /proc says that the file is missing, not that none may be made there.
    if number in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
        return Invalid("files.no_folder", source=source, folder=str(path.parent))
    if number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return Invalid("files.unwritable", source=source)
    if number == errno.EISDIR:
        return Invalid("files.is_folder", source=source)
    if number == errno.ENAMETOOLONG:
        return Invalid("files.long_name", source=source)
    return Invalid("files.failed", source=source, why=str(error) if number is None else os.strerror(number))


def temporary_of(name: str, unique: str = "*") -> str:
    """Name of the temporary file that becomes ``name``; by default the pattern of all such names."""
    return f".{unique}.{name}"


def _create(target: Path) -> Path:
    """An empty temporary file beside ``target`` whose name has the same ending, with the rights a new file has."""
    temporary = target.parent / temporary_of(target.name, f"{os.getpid():x}-{os.urandom(4).hex()}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    if target.exists():
        shutil.copymode(target, temporary)
    return temporary


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; on leaving without an error it becomes ``path`` at once, else it is removed.

    A device or pipe (``/dev/stdout``) is written directly. Raises Invalid if the folder is missing or may not be written,
    or the disk is full.
    """
    target = Path(os.path.realpath(path))
    temporary: Path | None = None
    try:
        if target.is_dir():
            raise Invalid("files.is_folder", source=str(path))
        if target.exists() and not target.is_file():
            yield target
            return
        temporary = _create(target)
        yield temporary
        _flush(temporary)
        temporary.replace(target)
        with suppress(OSError):  # not every system lets a folder be opened
            _flush(target.parent)  # the new name, too, survives a power cut
    except Exception as error:
        if isinstance(error, OSError) or system_error(error) is not None:
            raise refusal(error, Path(path)) from error
        # Some libraries say something else when there is no room.
        if not isinstance(error, Invalid) and shutil.disk_usage(target.parent).free < SCARCE:
            raise Invalid("files.full", source=str(path)) from error
        raise
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes | str | Callable[[Path], object]) -> None:
    """Write ``content`` to ``path``, whole or not at all.

    ``content``: bytes, text (UTF-8) or a function that writes to the path it is given. Raises Invalid as `whole` does.
    """
    with whole(path) as temporary:
        if isinstance(content, bytes):
            temporary.write_bytes(content)
        elif isinstance(content, str):
            temporary.write_bytes(content.encode("utf-8"))
        else:
            content(temporary)


def check_writable(path: str | Path) -> None:
    """Raise Invalid now if ``path`` could not be written later, so that nobody waits an hour to hear it."""
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise Invalid("files.is_folder", source=str(path))
        if target.exists() and not target.is_file():
            return
        _create(target).unlink()
    except OSError as error:
        raise refusal(error, Path(path)) from error
