"""Training of one cell: the LightningModule, its losses, data and callbacks, checkpoints, processes. Imports torch."""
