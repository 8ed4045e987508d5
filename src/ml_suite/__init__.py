"""Build, check and deploy ecFlow suites that train machine-learning models on supercomputers."""

__version__ = "0.1.0"
