"""Floating point operations of the operators in their fast real forms, and of layers.

Every function returns two numbers, for the forward pass and for the backward pass.
"""

import math

from ssm_bench.speed.grid import Problem

Flops = tuple[float, float]


def vandermonde(p: Problem, channels: int = 1) -> Flops:
    forward = 2.0 * channels * p.H * p.N * p.L
    return forward, 2 * forward


def vandermonde_transpose(p: Problem) -> Flops:
    forward = 2.0 * p.B * p.H * p.N * p.L
    return forward, 2 * forward


def cauchy(p: Problem, channels: int = 1) -> Flops:
    """Count the numerators of rank 1, at the nodes of a real FFT of L points except the first."""
    terms, numerators = p.H * (p.N / 2) * (p.L // 2), 2 * (1 + channels)
    return terms * (10 + 8 * numerators), terms * (16 + 20 * numerators)


def long_conv(p: Problem, channels: int = 1) -> Flops:
    """Count transforms of twice the length. The backward pass reuses the transforms of the batch."""
    n, batch, kernel = 2 * p.L, p.B * p.H, channels * p.H
    transforms = (2 * batch + kernel) * 2.5 * n * math.log2(n)
    return transforms + 3 * batch * n, transforms + 7 * batch * n


def diagonal_scan(p: Problem) -> Flops:
    forward = 7.0 * p.B * p.H * p.N * p.L
    return forward, 2 * forward


def layer(p: Problem, dplr: bool, channels: int = 1) -> Flops:
    """Count one layer with a GLU output map.

    Args:
        p: the problem.
        dplr: whether the kernel is S4's, by Cauchy products; otherwise it is S4D's.
        channels: 2 for a bidirectional layer, else 1.
    """
    linear = 4.0 * p.B * p.L * p.H**2
    kernel, convolution = (cauchy if dplr else vandermonde)(p, channels), long_conv(p, channels)
    return kernel[0] + convolution[0] + linear, kernel[1] + convolution[1] + 2 * linear
