"""The operators, one module for each: shapes of the launches, and what torch must know (fake kernels, backward passes).

Complex tensors are real ones whose last axis holds real and imaginary part. All are float32, except the signal of
``chunked_scan``. The backward passes sum in a fixed order, so that results repeat bit for bit.
"""
