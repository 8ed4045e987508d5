"""Trainer ``mlp``: fully connected networks on a table of samples."""
