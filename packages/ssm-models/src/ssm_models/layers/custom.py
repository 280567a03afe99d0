"""A layer of the user's own, loaded from a file."""

import hashlib
import importlib.util
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ssm_models.config import CustomLayerConfig
from ssm_models.contract import SequenceLayer, State
from ssm_models.modules.padding import mask_padding


class CustomLayer(SequenceLayer):
    """Any module that maps (B, L, H) to (B, L, H).

    Args:
        d_model: H; the class's first argument.
        config: path and arguments of the class.

    Raises:
        ValueError: no such file or class, or the class does not take the arguments.
    """

    def __init__(self, d_model: int, config: CustomLayerConfig) -> None:
        super().__init__()
        self.path = config.path
        self.d_output = d_model
        cls = load_class(config.path)
        try:
            self.module = cls(d_model, **config.args)
        except TypeError as error:
            raise ValueError(f"{config.path} was called with ({d_model}, **{config.args}): {error}.") from error

    def forward(
        self, u: Tensor, state: State = None, *, lengths: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, State]:
        self.refuse_state(state)
        if rate != 1.0:
            raise ValueError(f"{self.path} has no sampling rate, so it cannot run at rate {rate}.")
        y = self.module(mask_padding(u, lengths))
        if isinstance(y, tuple):
            y = y[0]
        if not isinstance(y, Tensor) or y.shape != u.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"{self.path} must give a tensor of its input's shape {tuple(u.shape)}, not {got}.")
        return y, None

    def why_not_causal(self) -> str:
        return f"{self.path} is used in its convolutional form alone."


def load_class(path: str) -> type[nn.Module]:
    """The ``nn.Module`` subclass named by ``file.py:Class``."""
    name, separator, attribute = path.rpartition(":")
    if not separator or not name.endswith(".py"):
        raise ValueError(f"A layer of one's own is named as file.py:Class, not {path!r}.")
    file = Path(name).expanduser().resolve()
    if not file.is_file():
        raise ValueError(f"There is no file {file} for the layer {path!r}.")
    # Registered under a name of its own, so that pickling and relative state work as for any module.
    module_name = f"ssm_custom_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    cls = getattr(module, attribute, None)
    if not (isinstance(cls, type) and issubclass(cls, torch.nn.Module)):
        classes = [
            each
            for each, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module_name
        ]
        raise ValueError(f"{file} has no nn.Module called {attribute!r}; it has {', '.join(classes) or 'none'}.")
    return cls
