"""One decoding step of a stock Llama for many rows at once: fused weights, preallocated buffers, a cache per slot.

A row's logits depend on that row's tokens alone, to the last bit: the matrix products always run on a number of rows that
was checked, when the weights were prepared, to give the same bits as `ROWS` rows, and the rest is done row by row.
"""

from __future__ import annotations

import math
import mmap
import weakref
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from puji.engine.network import bf16_in_hardware
from puji.engine.surroundings import threads_set

try:
    from puji.engine import kernels as kernels
except ImportError:
    from puji.engine import reference as kernels  # type: ignore[no-redef]

Array = np.ndarray[Any, Any]
Precision = Literal["auto", "float32", "bfloat16"]

ROWS = 256
"""Rows of a full step; more hardly make it faster (128: 10 % slower, 384: 1 % faster in bfloat16)."""
SPARE = 21
"""Positions that a slot has beyond the context: at a distance of a power of two all slots would fall on the same cache
lines (twice as slow), and the kernel reads one position too far."""


def precision(dtype: Precision) -> torch.dtype:
    """The torch type; "auto" is bfloat16 where the processor multiplies it in hardware. Raises ValueError if unknown."""
    if dtype == "auto":
        return torch.bfloat16 if bf16_in_hardware() else torch.float32
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {dtype!r}: choose auto, float32 or bfloat16")
    return torch.float32 if dtype == "float32" else torch.bfloat16


def bits(tensor: Tensor) -> Array:
    """A NumPy view of ``tensor``; bfloat16 as uint16."""
    array: Array = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array


class Weights:
    """The weights of ``network``, fused and in the precision of decoding; read-only, shared by all threads.

    Matrix products of the layers run in ``dtype``; residual stream, norms, attention and the logits are float32.
    Later changes of the network are not seen. Raises ValueError for a Llama with biases or another activation than SiLU.
    """

    def __init__(self, network: LlamaForCausalLM, dtype: Precision = "auto") -> None:
        config = network.config
        if config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
            raise ValueError("decoding knows Llama without biases and with SiLU only")
        self.dtype = precision(dtype)
        self.width: int = config.hidden_size
        self.inner: int = config.intermediate_size
        self.heads: int = config.num_attention_heads
        self.groups: int = config.num_key_value_heads or self.heads
        self.d: int = config.head_dim or self.width // self.heads
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self.eps = float(config.rms_norm_eps)
        with torch.no_grad():
            model = network.model
            cos, sin = model.rotary_emb(torch.zeros(1), torch.arange(self.context)[None])
            # The stock table repeats itself: the two halves of a head turn by the same angles.
            self.cos, self.sin = (bits(table[0, :, : self.d // 2].float().contiguous()) for table in (cos, sin))
            self.embedding = bits(model.embed_tokens.weight.float().clone())
            self.head = network.lm_head.weight.float().T.clone(memory_format=torch.contiguous_format)
            self.layers = [
                (
                    bits(layer.input_layernorm.weight.float().clone()),
                    self._fused(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                    self._fused(layer.self_attn.o_proj),
                    bits(layer.post_attention_layernorm.weight.float().clone()),
                    self._fused(layer.mlp.gate_proj, layer.mlp.up_proj),
                    self._fused(layer.mlp.down_proj),
                )
                for layer in model.layers
            ]
            self.norm = bits(model.norm.weight.float().clone())
            with threads_set(1):  # as decoding multiplies
                self.sizes = self._equal_sizes()

    def _fused(self, *linears: Any) -> Tensor:
        """The weights of ``linears`` as one matrix (in, out)."""
        return torch.cat([linear.weight for linear in linears]).T.to(
            self.dtype, memory_format=torch.contiguous_format, copy=True
        )

    def _equal_sizes(self) -> tuple[int, ...]:
        """Numbers of rows whose matrix products have, row for row, the same bits as those of `ROWS` rows.

        A library may use another order of summation for few rows; where it does, few rows cost as much as many.
        """
        first = self.layers[0]
        matrices = (first[1], first[2], first[4], first[5], self.head)
        generator = torch.Generator().manual_seed(0)
        sizes = {8, 16, 32, 64, 96, 128, 192}
        for matrix in matrices:
            x = torch.randn(ROWS, matrix.shape[0], generator=generator).to(matrix.dtype)
            full = torch.mm(x, matrix)
            sizes -= {size for size in sizes if not torch.equal(torch.mm(x[:size], matrix), full[:size])}
        return (*sorted(sizes), ROWS)


_prepared: weakref.WeakKeyDictionary[LlamaForCausalLM, dict[torch.dtype, tuple[Any, Weights]]]
_prepared = weakref.WeakKeyDictionary()


def prepare(network: LlamaForCausalLM, dtype: Precision = "auto") -> Weights:
    """`Weights` of ``network``; those of the last call if no parameter was changed since."""
    parameters = list(network.parameters())
    if any(parameter.is_inference() for parameter in parameters):
        return Weights(network, dtype)  # such tensors do not tell whether they were changed
    now = tuple((parameter.data_ptr(), parameter._version) for parameter in parameters)
    known = _prepared.setdefault(network, {})
    then, weights = known.get(precision(dtype), (None, None))
    if weights is None or then != now:
        weights = Weights(network, dtype)
        known[weights.dtype] = (now, weights)
    return weights


class Step:
    """Buffers and key-value cache for ``slots`` sequences; not shared between threads.

    The cache is (layers, slots, context + SPARE, key heads + value heads, head width); memory is used as sequences grow into it.
    ``sizes`` are the numbers of rows that a matrix product may have; by default those that give equal bits.
    """

    def __init__(self, weights: Weights, slots: int, sizes: tuple[int, ...] = ()) -> None:
        self.weights = w = weights
        self.sizes = sizes or w.sizes
        rows = self.rows = self.sizes[-1]
        number = np.float32 if w.dtype == torch.float32 else np.uint16
        shape = (len(w.layers), slots, w.context + SPARE, 2 * w.groups, w.d)
        # Fresh pages are zeros and take memory when they are written to; np.zeros would ask for huge ones, all of it.
        pages = mmap.mmap(-1, math.prod(shape) * np.dtype(number).itemsize)
        self.cache: Array = np.frombuffer(pages, number).reshape(shape)
        self._scratch: Array = np.zeros((6, max(w.context + SPARE, w.d)), np.float32)
        self._x: Array = np.zeros((rows, w.width), np.float32)
        self._nothing: Array = np.zeros((rows, w.width), np.float32)
        self._normed, self._delta = (torch.zeros(rows, w.width, dtype=w.dtype) for _ in range(2))
        self._qkv = torch.zeros(rows, (w.heads + 2 * w.groups) * w.d, dtype=w.dtype)
        self._mixed = torch.zeros(rows, w.heads * w.d, dtype=w.dtype)
        self._gate_up = torch.zeros(rows, 2 * w.inner, dtype=w.dtype)
        self._inner = torch.zeros(rows, w.inner, dtype=w.dtype)
        self._hidden = torch.zeros(rows, w.width)
        self._logits = torch.zeros(rows, w.vocabulary)

    def __call__(self, tokens: Array, slots: Array, positions: Array) -> Array:
        """Feed ``tokens[i]`` at ``positions[i]`` of ``slots[i]`` (int64, (n,), n <= ROWS); logits (n, vocabulary) float32.

        Several tokens of one slot may be fed at once, in the order of their positions. The result is overwritten by the
        next call.
        """
        w, n = self.weights, len(tokens)
        rows = next(size for size in self.sizes if size >= n)
        np.take(w.embedding, tokens, axis=0, out=self._x[:n], mode="clip")
        delta = self._nothing
        normed_bits, mixed_bits, delta_bits = bits(self._normed), bits(self._mixed), bits(self._delta)
        qkv_bits, gate_up_bits, inner_bits = bits(self._qkv), bits(self._gate_up), bits(self._inner)
        normed, out, qkv, mixed = self._normed[:rows], self._delta[:rows], self._qkv[:rows], self._mixed[:rows]
        gate_up, inner = self._gate_up[:rows], self._inner[:rows]
        with torch.inference_mode():
            for index, (norm1, w_qkv, w_out, norm2, w_gate_up, w_down) in enumerate(w.layers):
                kernels.add_norm(self._x, delta, norm1, w.eps, normed_bits, n)
                torch.mm(normed, w_qkv, out=qkv)
                kernels.attend(
                    qkv_bits,
                    w.cos,
                    w.sin,
                    self.cache[index],
                    slots,
                    positions,
                    w.heads,
                    mixed_bits,
                    self._scratch,
                )
                torch.mm(mixed, w_out, out=out)
                kernels.add_norm(self._x, delta_bits, norm2, w.eps, normed_bits, n)
                torch.mm(normed, w_gate_up, out=gate_up)
                kernels.swiglu(gate_up_bits, inner_bits, n)
                torch.mm(inner, w_down, out=out)
                delta = delta_bits
            kernels.add_norm(self._x, delta, w.norm, w.eps, bits(self._hidden), n)
            torch.mm(self._hidden[:rows], w.head, out=self._logits[:rows])
        result: Array = self._logits.numpy()[:n]
        return result

    def fork(self, positions: int) -> Step:
        """A copy with its own cache, of which the first ``positions`` positions are filled."""
        twin = Step(self.weights, self.cache.shape[1], self.sizes)
        twin.cache[:, :, :positions] = self.cache[:, :, :positions]
        return twin
