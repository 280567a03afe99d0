"""State space layers, backbones and named models.

``ssm_models.config`` and ``ssm_models.zoo`` do not import torch: a config is a frozen dataclass, and
``config.build(io)`` makes the module.
"""
