"""The operations of a network: which are linear, and which only move numbers about.

Rules and hooks reach modules alone. They silently miss a ReLU that is called as a function, a module that is called twice, or a
GELU, and the map then explains another network. An observed pass finds these, however the network is written.
"""

from __future__ import annotations

from xaicli.network.observe import Operation


def words(text: str) -> list[str]:
    return text.split()


ROUTING = frozenset(
    words(
        """view _unsafe_view reshape _reshape_alias flatten permute transpose t slice select narrow split split_with_sizes
        split_with_sizes_copy unbind cat stack clone copy contiguous _to_copy to expand repeat squeeze unsqueeze roll flip unfold
        as_strided constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle"""
    )
)
"""Operations that only move numbers about."""

LINEAR = ROUTING | frozenset(
    words(
        """convolution _convolution mkldnn_convolution cudnn_convolution linear addmm mm bmm baddbmm matmul mv add sub rsub neg
        sum mean mul div batch_norm native_batch_norm _native_batch_norm_legit_no_training _batch_norm_no_update cudnn_batch_norm
        miopen_batch_norm avg_pool2d adaptive_avg_pool2d _adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d upsample_bilinear2d
        _upsample_bilinear2d_aa upsample_nearest2d"""
    )
)
"""Operations that are linear, up to a constant, in one operand that depends on the photo; sums and concatenations are linear in
all operands."""

SUMS = ROUTING | {"add", "sub", "rsub"}

MAX_POOLING = frozenset(words("max_pool2d max_pool2d_with_indices mkldnn_max_pool2d adaptive_max_pool2d"))

NORMS = frozenset(words("native_layer_norm native_group_norm"))
"""Norms that use the photo's own mean and deviation and so are not linear."""

SOFTMAX = frozenset(words("_softmax _log_softmax"))


def is_linear(operation: Operation) -> bool:
    """Whether an operation is linear in the photo: a product of two operands that both depend on the photo is not."""
    return operation.name in LINEAR and (operation.operands == 1 or operation.name in SUMS)
