"""Everything that measures time: operators, layers, training steps, generation, loaders, and the estimate of a run.

Only ``timer`` measures time, and only :mod:`ssm_bench.memory` measures peak memory.

- ``bench kernels``: ``grid`` names the problems, ``cases`` builds them from ``operators`` and ``models``, ``measure``
  runs them, ``report`` and ``length_plot`` write them. ``profiler`` splits a training step into kinds of work.
- ``bench doctor``: ``examine`` tries each back end of each operator once.
- ``bench data status --speed``: ``loaders`` compares reading data with training.
- ``bench <benchmark> --dry-run``: ``estimate`` previews a run.
"""
