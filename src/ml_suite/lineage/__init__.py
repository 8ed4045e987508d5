"""From recipe to promoted weights: read from the catalogue and MLflow, never from local files."""
