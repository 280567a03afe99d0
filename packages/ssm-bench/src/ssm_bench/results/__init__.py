"""Results: make tables from records and published numbers. Does not import torch."""
