"""A throw-away benchmark: by just the files that a benchmark costs."""

from pathlib import Path

BENCHMARK = """
title: Throw-away
source: none
version: 3
protocol: Test accuracy at the epoch with the best validation accuracy.
metric: accuracy
tasks: [copying]
scales:
  smoke:
    data: {miniature: true, limit: {train: 64, val: 32, test: 32}}
    model: {n_layers: 1, d_model: 8}
    trainer: {epochs: 1, batch_size: 16}
"""
TASK = """
title: Copying
data: {name: copying}
training:
  source: ours
  seed: 7
  model: {n_layers: 2, d_model: 16, norm: layer, prenorm: true, decoder: pool}
  optimizer: {name: adamw, lr: 0.01}
  trainer: {batch_size: 32, epochs: 3}
families:
  s4: &s4
    source: ours
    papers: [s4]
    model: {d_state: 8}
  s4d: *s4
variants:
  wide:
    source: ours
    model: {d_model: 32}
    families: {s4: {}, s4d: {model: {d_state: 16}}}
"""


def write_benchmark(root: Path, name: str = "throwaway", benchmark: str = BENCHMARK, task: str = TASK) -> Path:
    """Write README, benchmark.yaml and one task file into a folder of ``root``, and return the folder."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("# Throw-away\n")
    (folder / "benchmark.yaml").write_text(benchmark)
    (folder / "copying.yaml").write_text(task)
    return folder
