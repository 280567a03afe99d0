"""Systems whose state matrix is diagonal plus low rank, and their convolution kernels."""
