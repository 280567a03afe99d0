"""Results: records and numbers of the literature become tables. Does not import torch."""
