"""Thin clients of the object store, MLflow and the catalogue; every write is safe to repeat."""
