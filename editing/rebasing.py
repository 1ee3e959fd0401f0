"""A solved layer carried over to another parent, without another optimisation."""

from __future__ import annotations

from torch import Tensor

from api_schemas.algorithms import EditSettings
from editing.batch import LayerEdit
from editing.solve import factor_keys
from editing.statistic import Statistic


def rebased(edit: LayerEdit, before: Tensor, after: Tensor, statistic: Statistic, settings: EditSettings) -> LayerEdit:
    """`edit`, solved on the parent matrix `before` (d_out, d_in), solved again on `after`.

    Keys do not change with the matrix that they go into. What the batch wants at them stays: V = W_before K + R, hence
    R' = R + (W_before − W_after) K. Raises SingularSolveError where `strict` refuses.
    """
    keys = edit.keys
    moved = (before.double() - after.double()).to(keys.device)
    residual = edit.residual + moved @ keys
    factor = factor_keys(
        keys,
        statistic.metric,
        mu=settings.mu,
        mu_relative=settings.mu_relative,
        strict=settings.strict,
        d_out=residual.shape[0],
    )
    return LayerEdit(edit.layer, keys, residual, (factor.solve(residual),))
