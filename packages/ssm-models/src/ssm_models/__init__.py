"""State space layers, backbones and named models.

``ssm_models.config`` and ``ssm_models.zoo`` do not import torch: a config is a frozen dataclass, and
``ssm_models.model.build_model(config, io)`` makes the module.
"""
