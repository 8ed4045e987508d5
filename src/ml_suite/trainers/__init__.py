"""Train one trial: trial.json in, result.json out."""
