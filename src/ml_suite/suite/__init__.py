"""From a deployment to an ecFlow suite."""
