"""The operators. Each module launches the kernels of one operator and registers it with torch.

Complex tensors are real tensors whose last axis holds real and imaginary part. All tensors are float32, except the
signal of ``chunked_scan``. The backward passes sum in a fixed order, so that results repeat bit for bit.
"""
