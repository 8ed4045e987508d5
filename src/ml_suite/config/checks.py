"""Everything that can be checked of a deployment without a network, beyond the file itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_suite.config import composed, fit, hyperparameters, locate, periods, recipe
from ml_suite.config.deployment import Deployment, Use
from ml_suite.config.findings import FileError, Finding, Severity
from ml_suite.config.recipe import Dates
from ml_suite.config.resolve import OPS, paths
from ml_suite.config.source import Keys, Source, load
from ml_suite.errors import ConfigError
from ml_suite.home import cache
from ml_suite.hosts import host as machines
from ml_suite.hosts.directives import payer
from ml_suite.hosts.host import Host


def check(deployment: Deployment, source: Source, path: Path) -> list[Finding]:
    """Compare a deployment with the files, hosts and training configuration that it names.

    Parameters
    ----------
    source
        The text of the deployment file, for the places.
    path
        Of the deployment file.

    Returns
    -------
    list of Finding
        Errors, warnings and notes; a check that could not be made is a note.
    """
    context = _Context(deployment, source, path.absolute().parent)
    known, found = context.hosts()
    found += fit.check(deployment, source, known)
    dates, findings = context.dataset(known)
    found += findings
    found += context.training(known, dates)
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Context:
    deployment: Deployment
    source: Source
    beside: Path
    """Folder of the deployment file."""

    def hosts(self) -> tuple[dict[str, Host], list[Finding]]:
        """Read the host files."""
        known: dict[str, Host] = {}
        found: list[Finding] = []
        for name, use in self.deployment.hosts.items():
            try:
                host = machines.load(name, self.beside)
                payer(host, use.account)
                paths(name, use, self.deployment, self.beside)
                known[name] = host
            except FileError as error:
                found += error.findings
            except ConfigError as error:
                where = ("hosts", name)
                found.append(self.source.finding(Severity.ERROR, where, error.message, error.hint, key=True))
        return known, found

    def dataset(self, known: dict[str, Host]) -> tuple[Dates | None, list[Finding]]:
        """Check the recipe and the files that it reads; return its dates."""
        text = self.deployment.dataset.recipe
        path = locate.locate(text, self.beside)
        if path is None or not path.is_file():
            return None, [self._missing(("dataset", "recipe"), text)]
        try:
            read = load(path, locate.near(path))
        except FileError as error:
            return None, list(error.findings)
        except ConfigError as error:
            return None, [
                self.source.finding(Severity.ERROR, ("dataset", "recipe"), error.message, error.hint)
            ]
        folder, found = self._sources(known)
        return recipe.dates(read), [*found, *recipe.check(read, self.deployment, self.source, folder)]

    def _sources(self, known: dict[str, Host]) -> tuple[Path | None, list[Finding]]:
        """Folder of the recipe's files, when it is on this machine."""
        text, named = self.deployment.dataset.sources, self.deployment.dataset.host
        if named in known and not known[named].here:
            where, message = (
                ("dataset", "host"),
                f"datasets are built beside the ecFlow server, not on {named}",
            )
            return None, [self.source.finding(Severity.ERROR, where, message, "leave the key out")]
        if text is None:
            builder = named or next((name for name, host in known.items() if host.here), OPS)
            use = self.deployment.hosts.get(builder, Use())
            return paths(builder, use, self.deployment, self.beside).work / "sources", []
        path = locate.locate(text, self.beside)
        if path is None or not path.is_dir():
            return None, [self._missing(("dataset", "sources"), text, "folder")]
        return path, []

    def training(self, known: dict[str, Host], dates: Dates | None) -> Iterator[Finding]:
        """Compose the training configuration and check the search space with it."""
        training = self.deployment.training
        yield from self._files()
        if training.config is None:
            yield from self._program(known)
            return
        path = locate.locate(training.config, self.beside)
        if path is None or not path.is_file():
            yield self._missing(("training", "config"), training.config)
            return
        if path.suffix != ".yaml":
            message, hint = f"Hydra reads files that end in .yaml, not {path.name}", "rename the file"
            yield self.source.finding(Severity.ERROR, ("training", "config"), message, hint)
            return
        environment = self.environment(known)
        if environment is None:
            message = "the search space is not checked: no training environment is installed on this machine"
            yield Finding(Severity.NOTE, message, hint="Run: bash ci/environment.sh")
            return
        try:
            tried = hyperparameters.candidates(self.deployment)
            result = composed.compose(path, environment, training.overrides, tried)
        except ConfigError as error:
            message = f"the search space is not checked: {error.message}"
            yield Finding(Severity.WARNING, message, hint=error.hint)
            return
        yield from hyperparameters.check(self.deployment, self.source, result)
        if not result.refused:
            yield from periods.check(self.deployment, self.source, result, dates)

    def _program(self, known: dict[str, Host]) -> Iterator[Finding]:
        """Check that the program of trainer command can be found from a trial's folder."""
        program = (self.deployment.training.command or [""])[0]
        where: Keys = ("training", "command", 0)
        if program.startswith(("{files}/", "{python}")):
            return
        if "/" in program and not Path(program).is_absolute():
            message, hint = f"{program} is looked for in the folder of each trial", "write its absolute path"
            yield self.source.finding(Severity.ERROR, where, message, hint)
        elif known and all(host.here for host in known.values()) and shutil.which(program) is None:
            message = f"there is no program {program} on this machine"
            yield self.source.finding(Severity.ERROR, where, message, "write its absolute path")

    def _files(self) -> Iterator[Finding]:
        """Check that the files that go with the suite are there, each with a name of its own."""
        names: list[str] = []
        for i, text in enumerate(self.deployment.training.files):
            where: Keys = ("training", "files", i)
            path = locate.locate(text, self.beside)
            if path is None or not path.is_file():
                yield self._missing(where, text)
            elif path.name in names:
                message, hint = f"another file is called {path.name} too", "rename one of them"
                yield self.source.finding(Severity.ERROR, where, message, hint)
            names.append(Path(text).name)
        for i, word in enumerate(self.deployment.training.command or []):
            named = word.partition("{files}/")[2]
            if named and named not in names:
                message = f"no file {named} goes with the suite"
                hint = "list it under training.files"
                yield self.source.finding(Severity.ERROR, ("training", "command", i), message, hint)

    def environment(self, known: dict[str, Host]) -> Path | None:
        """Training environment on this machine: the deployment's, a host's, or the usual one."""
        here = [name for name, host in known.items() if host.here]
        places = [
            paths(name, self.deployment.hosts[name], self.deployment, self.beside).environment
            for name in here
        ]
        return next((p for p in [*places, cache() / "anemoi"] if (p / "bin" / "python").exists()), None)

    def _missing(self, where: Keys, text: str, what: str = "file") -> Finding:
        tried = ", ".join(locate.near(path) for path in locate.candidates(text, self.beside))
        return self.source.finding(Severity.ERROR, where, f"there is no {what} {text}", f"looked for {tried}")
