"""Linear recurrences with a dense real matrix for each feature: ``x[l] = A x[l-1] + B u[l]``, ``y[l] = C x[l]``."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ssm_core.products import bmm, einsum

#: Length of a block of :func:`dense_scan`; a power of two.
_CHUNK = 64


def dense_kernel(A: Tensor, B: Tensor, C: Tensor, L: int) -> Tensor:
    """Return ``K[c,h,l] = C[c,h] A[h]^l B[h]``.

    Args:
        A: real (H, N, N).
        B: real (H, N).
        C: real (C, H, N).
        L: length.

    Returns:
        Real (C, H, L).
    """
    return einsum("chn,hnl->chl", C, _krylov(_squares(A, L), B, L))


def dense_scan(u: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Run the recurrence over a chunk by matrix products: Toeplitz products inside blocks, and a state between blocks.

    Args:
        u: input, real (B, L, H).
        x: state before the first sample, real (B, H, N).
        A: real (H, N, N).
        B: real (H, N).
        C: real (C, H, N).

    Returns:
        Output (B, L, C, H) in the dtype of u, and the state after the last sample (B, H, N).
    """
    dtype, (batch, L, H), channels, N = u.dtype, u.shape, len(C), A.shape[-1]
    q = min(_CHUNK, 1 << (L - 1).bit_length())
    blocks, rest = divmod(L, q)
    squares = _squares(A, q)
    reach = _krylov(squares, B, q)  # (H, N, q): the response of the state, j samples after an input
    next_C = einsum("chn,hnm->hcm", C, A)
    observe = _krylov([each.mT for each in squares], next_C, q)  # (H, C, N, q): C A^(j+1)
    k = einsum("chn,hnq->chq", C, reach)
    toeplitz = F.pad(k, (q - 1, 0)).unfold(-1, q, 1).flip(-2)  # [c,h,i,j] = k[j-i], 0 where j < i

    u = F.pad(u.to(A.dtype), (0, 0, 0, -L % q)).view(batch, -1, q, H).permute(3, 0, 1, 2)  # (H, B, blocks, q)
    adds = einsum("hbiq,hnq->ihbn", u[:, :, :blocks], reach.flip(-1))
    state = x.to(A.dtype).transpose(0, 1)  # (H, B, N)
    states = [state]
    for add in adds:
        state = bmm(state, squares[-1].mT) + add
        states.append(state)
    starts = torch.stack(states[: u.shape[2]], 2)  # (H, B, blocks, N)
    y = einsum("hbiq,chqj->bijch", u, toeplitz) + einsum("hbin,hcnj->bijch", starts, observe)
    if rest:
        for power, square in enumerate(squares):
            if rest >> power & 1:
                state = bmm(state, square.mT)
        state = state + bmm(u[:, :, -1, :rest], reach[..., :rest].flip(-1).mT)
    return y.reshape(batch, -1, channels, H)[:, :L].to(dtype), state.transpose(0, 1).reshape(batch, H, N)


def dense_step(u: Tensor, x: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
    """Run the recurrence over one sample.

    Args:
        u: input, real (B, H).
        x: state before the sample, real (B, H, N).
        A: real (H, N, N).
        B: real (H, N).
        C: real (C, H, N).

    Returns:
        Output (B, C, H) in the dtype of u, and the next state (B, H, N).
    """
    x = einsum("hnm,bhm->bhn", A, x) + u.to(B.dtype).unsqueeze(-1) * B
    return einsum("chn,bhn->bch", C, x).to(u.dtype), x


def power_gap(gap: Tensor, n: int) -> Tensor:
    """Return ``I - A^n`` for ``gap = I - A``, both real (H, N, N), and n at least 1.

    It uses ``I - A B = (I - A) + (I - B) - (I - A) (I - B)``, which keeps the digits of slow modes. In the power of A
    itself, such a mode would round to 1.
    """
    result = None
    while n:
        if n & 1:
            result = gap if result is None else result + gap - bmm(result, gap)
        n >>= 1
        if n:
            gap = 2 * gap - bmm(gap, gap)
    assert result is not None
    return result


def _squares(A: Tensor, n: int) -> list[Tensor]:
    """Return ``A^(2^i)`` for i = 0, 1, ... while the exponent does not exceed n."""
    squares = [A]
    while 2 ** len(squares) <= n:
        squares.append(bmm(squares[-1], squares[-1]))
    return squares


def _krylov(squares: list[Tensor], b: Tensor, n: int) -> Tensor:
    """Return ``A^j b`` for j below n: A (H, N, N) is given by its squares; b (H, ..., N) becomes (H, ..., N, n)."""
    columns = b.unsqueeze(-1)
    for square in squares:
        if columns.shape[-1] >= n:
            break
        each = columns.unflatten(0, (len(b), -1)) if b.ndim == 2 else columns
        columns = torch.cat((columns, einsum("hnm,hcmk->hcnk", square, each).view(columns.shape)), -1)
    return columns[..., :n]
