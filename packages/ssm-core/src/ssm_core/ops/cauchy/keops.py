"""The Cauchy product by KeOps, which compiles the formula and the formula of each gradient at first use."""

from torch import Tensor

# The formula in real arithmetic: ``1 / (i y - w)`` is ``near (-Re w - i below)``, and
# ``1 / (i y - w*)`` is ``far (-Re w - i above)``.
_VR, _VI, _WR, _WI = "Elem(v, 0)", "Elem(v, 1)", "Elem(w, 0)", "Elem(w, 1)"
_BELOW, _ABOVE = f"(y - {_WI})", f"(y + {_WI})"
_NEAR, _FAR = (f"Inv(Square({_WR}) + Square{distance})" for distance in (_BELOW, _ABOVE))
_REAL = f"{_NEAR} * ({_VI} * {_BELOW} - {_VR} * {_WR}) - {_FAR} * ({_VI} * {_ABOVE} + {_VR} * {_WR})"
_IMAG = f"{_VI} * {_WR} * ({_FAR} - {_NEAR}) - {_VR} * ({_NEAR} * {_BELOW} + {_FAR} * {_ABOVE})"


def cauchy(v: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_m v / (i y - w) + v* / (i y - w*)``."""
    from pykeops.torch import Genred

    formula = f"Concat({_REAL}, {_IMAG})"
    product = Genred(formula, ["v = Vj(2)", "w = Vj(2)", "y = Vi(1)"], reduction_op="Sum", axis=1)
    return product(v.contiguous(), w.contiguous().unsqueeze(0), y.view(1, 1, -1, 1))
