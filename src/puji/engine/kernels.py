"""The parts of a decoding step that are not matrix products, compiled by numba: no compiler is needed, no GIL is held.

Each function works row by row, and a row's result depends on that row alone: same bits whatever its place or neighbours.
All arithmetic is float32. bfloat16 arrays come in as their bits (uint16), because NumPy has no bfloat16.
`puji.engine.reference` has the same functions in plain torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

Function = TypeVar("Function", bound=Callable[..., Any])

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Step of splitmix64's counter: 2**64 over the golden ratio."""
BLOCK = 64
"""Tokens of the vocabulary whose probabilities are summed at once when the cumulative distribution is inverted."""
LINE = 64
"""Bytes of a cache line."""


def compiled(function: Function) -> Function:
    """``function`` compiled on first use and kept on disk; not kept where no folder can be written.

    "contract" only lets a*b+c round once, "reassoc" lets a sum be split over the lanes of a vector register: both the
    same way for every row.
    """
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


def _bitcast(source: Any, target: Any) -> Any:
    """A function of compiled code that reads the 32 bits of a ``source`` as a ``target``."""

    def typed(typing_context: Any, value: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), build

    return intrinsic(typed)


@intrinsic
def _prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at ``address`` (int64) before it is read."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(arguments[0], byte), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64), build


_as_float = _bitcast(types.int32, types.float32)
_as_bits = _bitcast(types.float32, types.int32)


def _load(array: Any, index: Any) -> Any:
    """``array[index]`` (1-d) as float32."""
    raise NotImplementedError


def _store(array: Any, index: Any, value: Any) -> None:
    """``array[index] = value``, rounded to the array's precision (to nearest, ties to even)."""
    raise NotImplementedError


@overload(_load, inline="always", strict=False)
def _load_overload(array: Any, index: Any) -> Any:
    if array.dtype == types.uint16:
        return lambda array, index: _as_float(np.int32(np.uint32(array[index]) << np.uint32(16)))
    return lambda array, index: array[index]


@overload(_store, inline="always", strict=False)
def _store_overload(array: Any, index: Any, value: Any) -> Any:
    if array.dtype == types.uint16:

        def store(array: Any, index: Any, value: Any) -> None:
            bits = np.uint32(_as_bits(np.float32(value)))
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            array[index] = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

        return store

    def plain(array: Any, index: Any, value: Any) -> None:
        array[index] = value

    return plain


@njit(fastmath={"contract"}, inline="always")
def _exp(x: Any) -> Any:
    """e**x to 1e-7 relative for float32 x (clamped to +-87); Cephes' polynomial, which vectorises where a call would not."""
    x = min(max(x, np.float32(-87.0)), np.float32(87.0))
    n = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    x = x - n * np.float32(0.693359375)
    x = x + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * x * x + x + np.float32(1.0)
    return y * _as_float(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@compiled
def add_norm(x: Any, delta: Any, weight: Any, eps: float, out: Any, rows: int) -> None:
    """``x += delta``, then ``out = x / sqrt(mean(x^2) + eps) * weight`` (RMSNorm) on the first ``rows`` rows.

    x (rows, width) float32; delta and out (rows, width) float32 or bfloat16; weight (width,) float32.
    """
    width = x.shape[1]
    for i in range(rows):
        row, change, normed = x[i], delta[i], out[i]
        total = np.float32(0.0)
        for j in range(width):
            value = row[j] + _load(change, j)
            row[j] = value
            total += value * value
        scale = np.float32(1.0) / np.sqrt(total / np.float32(width) + np.float32(eps))
        for j in range(width):
            _store(normed, j, row[j] * scale * weight[j])


@compiled
def attend(
    qkv: Any, cos: Any, sin: Any, cache: Any, slots: Any, positions: Any, heads: int, out: Any, scratch: Any
) -> None:
    """Rotary embedding, write into the cache, then softmax(q K^T / sqrt(d)) V over the row's own past and itself.

    qkv (rows, (heads + 2 kv) * d); cos, sin (context, d / 2) float32; cache (slots, n_positions, 2 kv, d) holds the keys,
    then the values of each position, and has at least one position more than the context; slots, positions (n,) int64:
    row i reads and writes slot ``slots[i]`` at ``positions[i]``. Rows of the same slot must come in the order of their
    positions. out (rows, heads * d). scratch float32 (6, at least n_positions and d).
    """
    context, groups, d = cache.shape[1], cache.shape[2] // 2, cache.shape[3]
    half = d // 2
    scale = np.float32(1.0 / np.sqrt(d))
    record = 2 * groups * d * cache.itemsize
    n = slots.shape[0]
    s0, s1 = scratch[0, :context], scratch[1, :context]
    q0, q1, m0, m1 = scratch[2, :d], scratch[3, :d], scratch[4, :d], scratch[5, :d]
    for i in range(n):
        p = positions[i]
        # The next row's past is fetched bit by bit meanwhile: waiting for it took longer than all the arithmetic.
        coming = min(i + 1, n - 1)
        ahead = np.int64(cache.ctypes.data + slots[coming] * context * record)
        beyond = ahead + positions[coming] * record
        stretch = positions[coming] * record // (groups * (p // 2 + 1)) + LINE
        row, result, past, c, s = qkv[i], out[i], cache[slots[i]], cos[p], sin[p]
        for group in range(groups):
            k, v = row[(heads + group) * d :], row[(heads + groups + group) * d :]
            now_k, now_v = past[p, group], past[p, groups + group]
            for j in range(half):
                a, b = _load(k, j), _load(k, j + half)
                _store(now_k, j, a * c[j] - b * s[j])
                _store(now_k, j + half, b * c[j] + a * s[j])
            for j in range(d):
                now_v[j] = v[j]
            # Heads that share keys go in pairs (an odd last one with itself), and positions in pairs: each key is read and
            # widened once for two heads. What is past p counts nothing.
            first, last = group * (heads // groups), (group + 1) * (heads // groups)
            for head in range(first, last, 2):
                other = min(head + 1, last - 1)
                q, r = row[head * d : (head + 1) * d], row[other * d : (other + 1) * d]
                for j in range(half):
                    a, b = _load(q, j), _load(q[half:], j)
                    q0[j] = (a * c[j] - b * s[j]) * scale
                    q0[j + half] = (b * c[j] + a * s[j]) * scale
                    a, b = _load(r, j), _load(r[half:], j)
                    q1[j] = (a * c[j] - b * s[j]) * scale
                    q1[j + half] = (b * c[j] + a * s[j]) * scale
                for t in range(0, p + 1, 2):
                    k0, k1 = past[t, group], past[t + 1, group]
                    for line in range(ahead, min(ahead + stretch, beyond), LINE):
                        _prefetch(line)  # type: ignore[call-arg]
                    ahead += stretch
                    d00 = d01 = d10 = d11 = np.float32(0.0)
                    for j in range(d):
                        x, y = _load(k0, j), _load(k1, j)
                        d00 += q0[j] * x
                        d01 += q0[j] * y
                        d10 += q1[j] * x
                        d11 += q1[j] * y
                    s0[t], s0[t + 1], s1[t], s1[t + 1] = d00, d01, d10, d11
                top0 = top1 = np.float32(-np.inf)
                for t in range(p + 1):
                    top0, top1 = max(top0, s0[t]), max(top1, s1[t])
                total0 = total1 = np.float32(0.0)
                for t in range(p + 1):
                    s0[t], s1[t] = _exp(s0[t] - top0), _exp(s1[t] - top1)
                    total0 += s0[t]
                    total1 += s1[t]
                s0[p + 1] = s1[p + 1] = np.float32(0.0)
                for j in range(d):
                    m0[j] = m1[j] = np.float32(0.0)
                for t in range(0, p + 1, 2):
                    v0, v1 = past[t, groups + group], past[t + 1, groups + group]
                    w00, w01, w10, w11 = s0[t], s0[t + 1], s1[t], s1[t + 1]
                    for j in range(d):
                        x, y = _load(v0, j), _load(v1, j)
                        m0[j] += w00 * x + w01 * y
                        m1[j] += w10 * x + w11 * y
                total0, total1 = np.float32(1.0) / total0, np.float32(1.0) / total1
                to0, to1 = result[head * d : (head + 1) * d], result[other * d : (other + 1) * d]
                for j in range(d):
                    _store(to0, j, m0[j] * total0)
                    _store(to1, j, m1[j] * total1)


@compiled
def swiglu(gate_up: Any, out: Any, rows: int) -> None:
    """``out = silu(gate) * up`` on the first ``rows`` rows; gate_up (rows, 2 inner) holds both, out (rows, inner)."""
    inner = out.shape[1]
    for i in range(rows):
        gate, up, result = gate_up[i, :inner], gate_up[i, inner:], out[i]
        for j in range(inner):
            g = _load(gate, j)
            _store(result, j, g / (np.float32(1.0) + _exp(-g)) * _load(up, j))


@njit(inline="always")
def _mix(x: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): uint64 -> uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def uniforms(seeds: Any, steps: Any, out: Any) -> None:
    """The uniform number in [0, 1) of each (seed, step): uint64 (n,), uint64 (n,) -> float64 (n,)."""
    for i in range(seeds.shape[0]):
        bits = _mix(_mix(seeds[i] + GOLDEN) + (steps[i] + np.uint64(1)) * GOLDEN)
        out[i] = np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def choose(
    logits: Any,
    masks: Any,
    which: Any,
    floors: Any,
    temperature: float,
    draws: Any,
    scratch: Any,
    tokens: Any,
    logprobs: Any,
    likeliest: Any,
) -> None:
    """Draw a token for each row by inverting the cumulative distribution of its softmax at ``draws``.

    logits (n, vocabulary) float32; masks (k, vocabulary) bool, row i is under ``masks[which[i]]``; floors (n,) float32:
    logits below are out; temperature 0 takes the most likely; draws (n,) float64 in [0, 1); scratch (2 vocabulary,)
    float32. Fills tokens (n,) int64, -1 where nothing is allowed; logprobs (n,) float64: the natural logarithm under
    softmax(logits), before mask, floor and temperature; and likeliest (n,) float64: the same for the best allowed token.
    """
    size = logits.shape[1]
    kept, weights = scratch[:size], scratch[size:]
    for i in range(logits.shape[0]):
        row, mask, floor = logits[i], masks[which[i]], floors[i]
        top: Any = np.float32(-np.inf)
        best: Any = np.float32(-np.inf)
        for v in range(size):
            value = row[v]
            kept[v] = value if mask[v] and value >= floor else np.float32(-np.inf)
            top = max(top, value)
            best = max(best, kept[v])
        token = -1
        if best > -np.inf:
            if temperature == 0.0:
                token = 0
                while kept[token] < best:
                    token += 1
            else:
                inverse = np.float32(1.0 / temperature)
                for v in range(size):
                    weight = _exp((kept[v] - best) * inverse)
                    weights[v] = weight if kept[v] > -np.inf else np.float32(0.0)
                whole: Any = 0.0
                for start in range(0, size, BLOCK):
                    part: Any = np.float32(0.0)
                    for v in range(start, min(start + BLOCK, size)):
                        part += weights[v]
                    whole += part
                target = draws[i] * whole
                below: Any = 0.0
                for start in range(0, size, BLOCK):
                    part = np.float32(0.0)
                    for v in range(start, min(start + BLOCK, size)):
                        part += weights[v]
                    # Also remembered where rounding lets the draw pass the end of the last block.
                    if part > 0.0:
                        reached = below
                        for v in range(start, min(start + BLOCK, size)):
                            if weights[v] > 0.0:
                                token = v
                                reached += weights[v]
                                if reached > target:
                                    break
                        below += part
                        if below > target:
                            break
        tokens[i] = token
        if token >= 0:
            total = np.float32(0.0)
            for v in range(size):
                total += _exp(row[v] - top)
            normaliser = np.log(np.float64(total))
            logprobs[i] = np.float64(row[token] - top) - normaliser
            likeliest[i] = np.float64(best - top) - normaliser
        else:
            logprobs[i] = 0.0
            likeliest[i] = -np.inf
