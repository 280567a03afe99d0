"""The operators, a module each: shapes of the launches, and what torch must know (fake kernels, backward).

Complex tensors are real ones with a trailing 2. All are float32. The backward passes sum in a fixed order,
so that results repeat bit for bit.
"""
