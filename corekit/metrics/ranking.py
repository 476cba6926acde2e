"""Whether a score ranks examples as it should: area under the ROC curve, rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from corekit.errors import ShapeError


def auc(high: np.ndarray, low: np.ndarray) -> float:
    r"""Area under the ROC curve: how often a score that should be high is above one that is not.

    .. math:: P(S_{high} > S_{low}) + \tfrac12 P(S_{high} = S_{low})

    1 is best, 1/2 is chance, and less than 1/2 ranks the wrong way round. NaN if either is empty.

    Shape: high ``(N,)``, low ``(M,)``
    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, Radiology 1982.
    """
    n, m = len(high), len(low)
    scores = np.concatenate([high, low])
    if not n or not m or np.isnan(scores).any():
        return float("nan")
    ranks = rankdata(scores)  # equal scores have the mean of their ranks
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, in [-1, 1]; NaN where either is constant.

    Shape: x, y ``(N,)``
    """
    if x.shape != y.shape or x.ndim != 1:
        raise ShapeError(f"Spearman: x and y must be (N,) each, got {x.shape} and {y.shape}.")
    if len(x) < 2 or np.isnan(x).any() or np.isnan(y).any():
        return float("nan")
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size else float("nan")
