"""Run trials one after the other: ``python -m tests.trainers.run_specs TRIAL.json ...`` in the training environment."""

import sys
from pathlib import Path

from ml_suite.study.contract import TrialSpec
from ml_suite.trainers import process, runner

with process.stop_requests() as stop:
    for path in sys.argv[1:]:
        result = runner.run(TrialSpec.load(Path(path)), stop)
        print(result.trial, result.state, result.reason, flush=True)
