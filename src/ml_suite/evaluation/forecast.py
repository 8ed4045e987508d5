"""Real forecasts with anemoi-inference, scored against analyses and persistence as they appear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_suite.errors import StudyError
from ml_suite.evaluation.rmse import ErrorSums, area_weights
from ml_suite.evaluation.scores import Table
from ml_suite.evaluation.starts import choose_starts
from ml_suite.study.contract import Span

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ForecastScores:
    """RMSE of forecasts from all start dates together."""

    starts: list[datetime]
    lead_hours: list[float]
    rmse: Table
    persistence: Table
    units: dict[str, str | None]


class Analyses:
    """The dataset as truth.

    Parameters
    ----------
    path
        An Anemoi dataset.
    """

    def __init__(self, path: Path) -> None:
        from anemoi.datasets import open_dataset

        self._data = open_dataset(str(path))
        self._cache: tuple[datetime, NDArray[np.floating]] | None = None

    @cached_property
    def index(self) -> dict[datetime, int]:
        """Position of every date that has data."""
        dates = [d.astype("datetime64[s]").astype(datetime) for d in self._data.dates]
        return {d: i for i, d in enumerate(dates) if i not in self._data.missing}

    @property
    def weights(self) -> NDArray[np.float64]:
        """Area weights, shape (points,)."""
        return area_weights(self._data.latitudes)

    @property
    def units(self) -> dict[str, str | None]:
        """Of every variable, as far as the dataset knows."""
        about = self._data.variables_metadata
        return {name: about.get(name, {}).get("units") for name in self._data.variables}

    def field(self, variable: str, date: datetime) -> NDArray[np.floating]:
        """Analysis of one variable, shape (points,)."""
        if self._cache is None or self._cache[0] != date:
            self._cache = (date, self._data[self.index[date]])
        values: NDArray[np.floating] = self._cache[1][self._data.name_to_index[variable], 0]
        return values


def score_forecasts(
    checkpoint: Path, dataset: Path, period: Span, lead_time: timedelta, wanted: int
) -> ForecastScores:
    """Run forecasts from dates spread over PERIOD and compare them with the dataset.

    Parameters
    ----------
    checkpoint
        An ``inference-*.ckpt`` of anemoi-training.
    lead_time
        Length of each forecast.
    wanted
        Number of start dates; fewer when the period is short.

    Raises
    ------
    StudyError
        If the period is too short, or the checkpoint is of several datasets.
    """
    runner = _runner(checkpoint, dataset, lead_time)
    name, output = _only(runner.outputs, checkpoint)
    truth = Analyses(dataset)
    step: timedelta = runner.checkpoint.timestep
    leads = [step * (i + 1) for i in range(lead_time // step)]
    lags = list(runner.checkpoint.multi_dataset_metadata[name].lagged)
    if not leads:
        raise StudyError(f"evaluation.lead_time {lead_time} is shorter than the model's step {step}")
    starts = choose_starts(truth.index, period, lags, leads, wanted)
    model, persistence = ErrorSums(truth.weights, len(leads)), ErrorSums(truth.weights, len(leads))
    for start in starts:
        output.receive = _Receiver(truth, start, leads, model)
        runner.reference_date = start
        runner.execute()
    for start in starts:
        _persist(truth, start, leads, list(model.rmse()), persistence)
    hours = [lead / timedelta(hours=1) for lead in leads]
    scored = model.rmse()
    units = {variable: truth.units.get(variable) for variable in scored}
    return ForecastScores(starts, hours, scored, persistence.rmse(), units)


@dataclass(frozen=True)
class _Receiver:
    """Scores each state of one forecast."""

    truth: Analyses
    start: datetime
    leads: list[timedelta]
    sums: ErrorSums

    def __call__(self, lead: timedelta, fields: dict[str, NDArray[np.floating]]) -> None:
        for variable, values in fields.items():
            analysis = self.truth.field(variable, self.start + lead)
            if values.shape != analysis.shape:
                raise StudyError(
                    f"the forecast of {variable} has {values.shape} points, the dataset {analysis.shape}",
                    "Evaluate on the dataset that the weights were trained on.",
                )
            self.sums.add(variable, self.leads.index(lead), values, analysis)


def _persist(
    truth: Analyses, start: datetime, leads: list[timedelta], variables: list[str], sums: ErrorSums
) -> None:
    first = {name: truth.field(name, start).copy() for name in variables}
    for i, lead in enumerate(leads):
        for name in variables:
            sums.add(name, i, first[name], truth.field(name, start + lead))


def _runner(checkpoint: Path, dataset: Path, lead_time: timedelta) -> Any:
    """Runner of anemoi-inference whose output goes to a function of ours instead of a file."""
    from anemoi.inference.config.run import RunConfiguration
    from anemoi.inference.output import Output
    from anemoi.inference.outputs import output_registry
    from anemoi.inference.runners import create_runner

    if "ml-suite" not in output_registry.registered:

        @output_registry.register("ml-suite")
        class FunctionOutput(Output):  # type: ignore[misc]
            """Hands each state on."""

            receive: Any = None

            def write_step(self, state: dict[str, Any]) -> None:
                self.receive(state["step"], state["fields"])

    config = RunConfiguration(
        checkpoint=str(checkpoint),
        lead_time=lead_time,
        precision="32",
        seed=0,
        allow_nans=True,
        write_initial_state=False,
        input={"dataset": {"dataset": str(dataset)}},
        output="ml-suite",
    )
    return create_runner(config)


def _only(outputs: dict[str, Any], checkpoint: Path) -> tuple[str, Any]:
    if len(outputs) != 1:
        raise StudyError(f"{checkpoint} is of {len(outputs)} datasets; forecasts are scored for one")
    return next(iter(outputs.items()))
