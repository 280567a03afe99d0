"""Names of initialisations in the configurations, against those that ssm-core has."""

import pytest
from ssm_core import hippo, initialize
from ssm_models.config import DenseConfig, DiagonalConfig, DPLRConfig
from ssm_models.config.kernels import DENSE_MEASURES, KERNELS, MEASURES, SystemConfig


def test_the_names_are_those_of_the_mathematics() -> None:
    assert {*MEASURES, *DENSE_MEASURES} == {*hippo.MEASURES, *hippo.ALIASES}
    diagonals = {*initialize.DIAGONALS, *initialize.DIAGONAL_ALIASES}
    expected = {
        *MEASURES,
        *initialize.COMBINATIONS,
        *(f"{each}-{name}" for each in ("diag", "dplr") for name in diagonals),
    }
    assert set(SystemConfig.inits) == expected


@pytest.mark.parametrize("name", DENSE_MEASURES)
def test_a_measure_without_a_correction_is_for_dense_matrices(name: str) -> None:
    DenseConfig(init=name)
    for cls in (DiagonalConfig, DPLRConfig):
        with pytest.raises(ValueError, match=f"init of kernel={cls.name} is one of legs.*not '{name}'"):
            cls(init=name)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_has_a_word_and_a_class(name: str) -> None:
    assert KERNELS[name].name == name
    module, _, attribute = KERNELS[name].kernel_class.partition(":")
    assert module.startswith("ssm_models.kernels.")
    assert attribute.endswith("Kernel")
