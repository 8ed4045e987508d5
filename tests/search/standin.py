"""A worker that behaves as an order's parameter `act` says: for what a real one does not do on demand.

Its values are a function of the trial alone: better for larger `quality`, better with every epoch.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> int:
    for line in sys.stdin:
        order = json.loads(line)
        if "arrays" in order:
            setup = order
            if setup["settings"].get("unusable"):
                print("error: the samples cannot be read", file=sys.stderr)
                return 2
            continue
        act = order["params"].get("act", "train")
        answer = {
            "trial": order["trial"],
            "replicate": order["replicate"],
            "seconds": 0.5,
            "cpu_seconds": 0.25,
        }
        if act == "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        if (
            act == "die once"
            and not (mark := Path(os.environ["STANDIN_MARKS"], str(order["trial"]))).exists()
        ):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "exit":
            print("Traceback\nKeyError: 'x'", file=sys.stderr)
            return 1
        if act == "hang":
            time.sleep(3600)
        time.sleep(float(order["params"].get("sleep", 0)))
        if act == "absent":
            reason = "the training never reported the metric 'm'; it reported val_loss"
            answer |= {"state": "failed", "reason": reason}
        elif act == "full":
            answer |= {"state": "failed", "reason": "OSError: [Errno 28] No space left on device: 'w'"}
        elif act == "fail":
            answer |= {"state": "failed", "reason": "ValueError: no"}
        elif act == "nan":
            answer |= {"state": "diverged", "history": [{"epoch": 0, "step": 3, "value": None}]}
        else:
            last = min(order["until"] or order["epochs"], order["epochs"])
            values = [1 / (1 + order["params"].get("quality", 0) + 0.01 * epoch) for epoch in range(last)]
            answer |= {
                "state": "complete",
                "paused": last < order["epochs"],
                "value": values[-1],
                "best": values[-1],
                "history": [{"epoch": e, "step": 3 * e + 3, "value": v} for e, v in enumerate(values)],
                "parameters": order["params"].get("size", 10),
                "epochs": last,
                "steps": 3 * last,
                "metrics": {
                    "pid": os.getpid(),
                    "seed": order["seed"],
                    "bf16": setup["precision"] == "bf16",
                },
            }
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
