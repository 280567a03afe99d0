"""The mathematics of structured state space models, as pure functions on tensors.

These letters describe every shape in the workspace:

===== =====================================================================
B     batch
L     length of the sequence
H     model width (channels, features)
N     state size; conjugate pairs are stored once, so a tensor holds M = N/2 complex entries
M     stored complex entries of a state, M = N/2 (M = N for a real diagonal SSM)
C     kernel channels (heads per feature; doubled by a bidirectional layer)
R     rank of the low-rank part of a DPLR matrix
S     independent copies of (A, B, P), S divides H (``n_ssm``)
Q     chunk length
===== =====================================================================

A shape that ends in ``2`` holds real and imaginary part, as ``torch.view_as_real`` lays them out:
complex numbers cross the public functions as real tensors, which every back end and
``torch.compile`` can take.
"""
