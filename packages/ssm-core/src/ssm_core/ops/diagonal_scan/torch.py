"""The recurrence of a diagonal SSM in chunks, as matrix products.

Inside a chunk of Q samples the output is a Toeplitz product with the first Q taps of the kernel, plus the response of
the state at the start of the chunk. Only that state is computed sequentially, once for each chunk.
"""

import torch
from torch import Tensor

from ssm_core.complex import cmul, conj
from ssm_core.products import bmm

#: Length of a chunk, Q.
_CHUNK = 64


def diagonal_scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x[l] = a_bar x[l-1] + b_bar u[l]``, ``y[l] = 2 Re sum_m c x[l]``."""
    outputs, x = [], x0
    # Compute all whole chunks first, then the remaining samples as one shorter chunk.
    for part in u.split((u.shape[1] // _CHUNK * _CHUNK, u.shape[1] % _CHUNK), 1):
        if part.shape[1]:
            y, x = _scan(part, x, a_bar, b_bar, c, min(_CHUNK, part.shape[1]))
            outputs.append(y)
    return torch.cat(outputs, 1), x


def _scan(u: Tensor, x0: Tensor, a_bar: Tensor, b_bar: Tensor, c: Tensor, Q: int) -> tuple[Tensor, Tensor]:
    """Run the recurrence over a length that Q divides."""
    B, L, H = u.shape
    C, _, M, _ = c.shape
    chunks = u.view(B, L // Q, Q, H).permute(3, 1, 0, 2).reshape(H, -1, Q)  # rows (chunk, batch)
    powers = _powers(a_bar, Q + 1)  # (Q + 1, H, M, 2)

    inject = cmul(powers[:Q].flip(0), b_bar).transpose(0, 1).flatten(2)  # (H, Q, 2 M)
    added = bmm(chunks, inject).view(H, L // Q, B, M, 2).permute(1, 2, 0, 3, 4)
    states = [x0]
    for each in added.unbind(0):
        states.append(cmul(powers[Q], states[-1]) + each)
    starts = torch.stack(states[:-1]).permute(2, 0, 1, 3, 4).reshape(H, -1, 2 * M)

    # Re(c x) is the dot product of c* and x as pairs of reals.
    respond = 2 * conj(cmul(c.unsqueeze(1), powers[1:]))  # (C, Q, H, M, 2)
    taps = bmm(2 * conj(cmul(c, b_bar)).transpose(0, 1).flatten(2), powers[:Q].permute(1, 2, 3, 0).flatten(1, 2))
    toeplitz = torch.nn.functional.pad(taps, (Q - 1, 0)).unfold(-1, Q, 1).flip(-2)  # (H, C, from, to)
    weights = torch.cat(
        (toeplitz.transpose(1, 2).flatten(2), respond.permute(2, 3, 4, 0, 1).reshape(H, 2 * M, C * Q)), 1
    )
    y = bmm(torch.cat((chunks, starts), -1), weights)
    return y.view(H, L // Q, B, C, Q).permute(2, 1, 4, 3, 0).reshape(B, L, C, H), states[-1]


def _powers(a_bar: Tensor, n: int) -> Tensor:
    """Return ``a_bar^k`` for ``k = 0..n-1``, (n, H, M, 2), by doubling in float64, which loses no digits."""
    square = a_bar.to(torch.float64)
    one = torch.zeros_like(square)
    one[..., 0] = 1
    powers = one.unsqueeze(0)
    while powers.shape[0] < n:
        powers = torch.cat((powers, cmul(powers[: n - powers.shape[0]], square)))
        square = cmul(square, square)
    return powers.to(a_bar.dtype)
