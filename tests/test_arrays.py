"""Arrays in files: they come back, damage is noticed, and nothing is ever executed."""

from __future__ import annotations

import numpy as np
import pytest

from puji import arrays


def test_arrays_come_back_and_damage_is_noticed(tmp_path):
    path = tmp_path / "deep" / "arrays.npz"
    arrays.save_arrays(path, a=np.arange(5), text=arrays.pack_strings(["CC", "乙醇"]))
    loaded = arrays.load_arrays(path)
    assert (loaded["a"] == np.arange(5)).all()
    assert arrays.unpack_strings(loaded["text"]) == ["CC", "乙醇"]
    assert [p.name for p in path.parent.iterdir()] == ["arrays.npz"]
    content = path.read_bytes()
    flipped = content[:60] + bytes([content[60] ^ 0xFF]) + content[61:]
    for damaged in (content[: len(content) // 2], b"", b"\x80\x04N.", flipped, b"\x93NUMPY\x01\x00"):
        path.write_bytes(damaged)
        assert arrays.load_arrays(path) is None
    assert arrays.load_arrays(tmp_path / "none.npz") is None


def test_pickles_are_neither_written_nor_read(tmp_path):
    path = tmp_path / "objects.npz"
    with pytest.raises(ValueError):
        arrays.save_arrays(path, a=np.array([{}], dtype=object))
    assert list(tmp_path.iterdir()) == []
    np.savez(path, a=np.array([{}], dtype=object))
    assert arrays.load_arrays(path) is None
