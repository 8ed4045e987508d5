"""Start trainings of one process from a copy of this one, which has imported anemoi-training already.

The imports take longer than a small trial. A job that runs many trials imports once and forks a child per trial; the
child then does what the command ``anemoi-training`` does, with arguments, environment, folder, log, session and fate of
its own, so a crash costs only that trial.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from ml_suite.study.contract import Specification
from ml_suite.trainers import process
from ml_suite.trainers.process import Launch

_MODULES = (
    "anemoi.training.__main__",
    "anemoi.training.commands.train",
    "anemoi.training.train.train",
    # what a configuration names, so a training would import it only when it builds its parts
    "anemoi.training.train.methods.single",
    "anemoi.training.diagnostics.callbacks",
    "anemoi.training.distributed.strategy",
    "anemoi.models.models",
    "anemoi.models.layers.mapper",
    "anemoi.graphs.nodes.attributes",
    "anemoi.graphs.edges.attributes",
    "anemoi.datasets",
    "healpy",
    "git",
)


def possible(spec: Specification) -> bool:
    """Tell whether a copy of this process can be one rank of a training: it is of the same environment."""
    same = Path(sys.prefix).resolve() == spec.environment.resolve()
    return spec.trainer == "anemoi" and same and _there()


def fork(launch: Launch) -> int:
    """Start the command line of anemoi-training in a copy of this process and return its pid."""
    _load()
    bind = process.die_with_parent(os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(launch, bind)
    process.remember(launch.folder, pid)
    return pid


def _there() -> bool:
    try:
        return find_spec("anemoi.training") is not None
    except ImportError:
        return False


def _load() -> None:
    # read when the libraries are loaded; a copy of this process could not change it any more
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # asking for GPUs must not begin to use them: they cannot be used after a fork
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for name in _MODULES:
        with suppress(ImportError):  # the training itself will say what is missing
            importlib.import_module(name)


def _become(launch: Launch, bind: process.Bind) -> NoReturn:
    """Be a child that was started with `ml_suite.trainers.process.spawn`."""
    code = 1
    try:
        os.setsid()
        bind()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        _redirect(launch.folder / "log.txt")
        os.chdir(launch.folder)
        os.environ.clear()
        os.environ.update(launch.environment)
        os.environ[process.MARK] = str(launch.folder)
        sys.argv = list(launch.argv)
        importlib.import_module("anemoi.training.__main__").main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        # the parent's clean-up is not the child's business
        os._exit(code)


def _redirect(log: Path) -> None:
    empty = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor, target in ((empty, 0), (out, 1), (out, 2)):
        os.dup2(descriptor, target)
