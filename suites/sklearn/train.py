"""One trial: trial.json in, outcome.json out."""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.svm import SVC

spec = json.loads(Path(sys.argv[1]).read_text())
data = np.load(spec["arrays"]["path"])
part = {name: np.load(path) for name, path in spec["members"].items()}
x, y = ({name: data[key][numbers] for name, numbers in part.items()} for key in ("x", "y"))
model = SVC(**spec["params"]).fit(x["training"], y["training"])
errors = {name: 1 - model.score(x[name], y[name]) for name in ("validation", "test")}
outcome = {"value": errors["validation"], "metrics": {"test_error": errors["test"]}}
Path("outcome.json").write_text(json.dumps(outcome | {"parameters": int(model.n_support_.sum())}))
