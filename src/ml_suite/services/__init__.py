"""Start, check and stop the embedded ecFlow, S3, MLflow and catalogue servers."""
