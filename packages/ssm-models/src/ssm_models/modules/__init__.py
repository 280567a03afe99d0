"""Modules that layers share: dropout, activations, norms, the gated linear map, padding."""
