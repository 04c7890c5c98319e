"""A few components that hold most of a data set: truncated SVD and noise-weighted PCA, dense, sparse or out of core."""

from esteemcore.lowrank.operators import RowBlocks
from esteemcore.lowrank.pca import Components, noise_weights, pca
from esteemcore.lowrank.svd import truncated_svd

__all__ = ["Components", "RowBlocks", "noise_weights", "pca", "truncated_svd"]
