"""Two-step hyperparameter optimisation; knows no ecFlow, no SSH and no trainer."""
