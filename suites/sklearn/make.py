"""Write 1,797 handwritten digits, which come with scikit-learn: pixels [samples, 64] and the digit."""

import sys

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
np.savez(sys.argv[1], x=digits.data / 16, y=digits.target)
