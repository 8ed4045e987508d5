"""Write 30,000 points of four overlapping classes: 20 numbers each, of which 12 tell something, and the class."""

import sys

import numpy as np
from sklearn.datasets import make_classification

x, y = make_classification(
    30000,
    20,
    n_informative=8,
    n_redundant=4,
    n_classes=4,
    n_clusters_per_class=3,
    class_sep=1.2,
    flip_y=0.01,
    random_state=0,
)
scale = x.std(0) * np.sqrt(x.shape[1])  # points are about 1 apart, whatever their dimension
np.savez(sys.argv[1], x=(x - x.mean(0)) / scale, y=y)
