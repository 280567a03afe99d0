"""Linear recurrences with given matrices, as functions on tensors."""
