"""Data sets of the state space benchmarks: obtained, verified, prepared, batched.

``DATASETS`` maps names to classes of options; ``DATASETS[name](...).prepare(place)`` gives the prepared
data and :func:`ssm_data.batches.loader` its batches. Only :mod:`ssm_data.batches` imports torch.
"""

from ssm_data.contract import Dataset, Place, Prepared, Spec, Status, default_cache
from ssm_data.errors import DataError
from ssm_data.listops import ListOps

DATASETS: dict[str, type[Dataset]] = {dataset.name: dataset for dataset in (ListOps,)}

__all__ = ["DATASETS", "DataError", "Dataset", "Place", "Prepared", "Spec", "Status", "default_cache"]
