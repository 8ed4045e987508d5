"""Datasets in Anemoi's format: how far one is built, what it holds, and how fast it can be read.

Importable in the training environment, where zarr, torch and anemoi-datasets are; these are imported inside functions.
"""
