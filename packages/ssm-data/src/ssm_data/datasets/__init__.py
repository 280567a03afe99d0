"""The data sets: one module for each, or for several that read the same files; and modules that they share."""
