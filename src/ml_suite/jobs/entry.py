"""Put a suite's entry together from what its jobs left; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ml_suite.evaluation.promotion import Promotion
from ml_suite.evaluation.scores import Evaluation, mean_skill, summary
from ml_suite.jobs.outbox import Deliveries
from ml_suite.lineage.training import (
    CheckpointLink,
    DatasetLink,
    EvaluationLink,
    MlflowLink,
    SearchLink,
    SourceFile,
    Sources,
    StoredObject,
    TrainingMetadata,
    Version,
    entry_uuid,
)
from ml_suite.study.contract import Selection, TrialSpec


@dataclass(frozen=True)
class Facts:
    """What is known at the end of a cycle."""

    suite: str
    cycle: str
    host: str
    ecflow_path: str
    selection: Selection
    spec: TrialSpec
    evaluation: Evaluation
    scores: StoredObject
    figures: dict[str, StoredObject]
    checkpoint: CheckpointLink | None
    """None when the trainer leaves no Anemoi checkpoint."""
    deliveries: Deliveries
    recipe: SourceFile
    config: SourceFile | None
    deployment: SourceFile
    environment: dict[str, Any] = field(default_factory=dict)
    """Of the host that trained the winner, as its set-up found it."""


def compose(facts: Facts, decision: Promotion, previous: TrainingMetadata | None) -> TrainingMetadata:
    """Metadata of the entry as this cycle leaves it, with the history of the cycles before."""
    version = _version(facts, decision)
    known = previous.history if previous else []
    before = next((known[:i] for i, v in enumerate(known) if _same(v, version)), known)
    history = [*before, version]
    in_use = [v.checkpoint.uuid for v in history if v.promoted and v.checkpoint]
    kept = previous.archive if previous and known and _same(known[-1], version) else None
    return TrainingMetadata(
        uuid=entry_uuid(facts.suite),
        name=facts.suite,
        suite=facts.suite,
        cycle=facts.cycle,
        run_id=facts.selection.result.run_id,
        mlflow=_mlflow(facts),
        datasets=[
            DatasetLink(
                name=facts.spec.dataset.name,
                uuid=facts.spec.dataset.uuid,
                manifest=facts.spec.dataset.manifest,
            )
        ],
        weights=list(dict.fromkeys(v.checkpoint.uuid for v in history if v.checkpoint)),
        promoted=in_use[-1] if in_use else None,
        history=history,
        hpo=_search(facts.selection),
        ecflow_path=facts.ecflow_path,
        host=facts.host,
        git=Sources(recipe=facts.recipe, config=facts.config, deployment=facts.deployment),
        evaluation=_evaluation(facts),
        checkpoint=facts.checkpoint,
        archive=kept,
        software=facts.evaluation.software,
        environment=facts.environment,
    )


def outdated(composed: TrainingMetadata, previous: TrainingMetadata | None) -> bool:
    """Tell whether later cycles are registered: then the entry stays theirs, and the task only ran again."""
    return previous is not None and len(previous.history) > len(composed.history)


def _version(facts: Facts, decision: Promotion) -> Version:
    return Version(
        cycle=facts.cycle,
        checkpoint=facts.checkpoint,
        run_id=facts.selection.result.run_id,
        study=facts.selection.study,
        trial=facts.selection.trial,
        value=facts.selection.value,
        loss=facts.evaluation.winner.loss,
        trained=facts.selection.result.ended,
        promoted=decision.promote,
        reason=decision.reason,
    )


def _same(a: Version, b: Version) -> bool:
    """Tell whether two versions are the same weights: the task ran again."""
    one, other = (v.checkpoint.uuid if v.checkpoint else None for v in (a, b))
    return (a.cycle, a.study, a.trial, one) == (b.cycle, b.study, b.trial, other)


def _mlflow(facts: Facts) -> MlflowLink:
    run = facts.deliveries.run(facts.selection.result)
    parent = facts.deliveries.parent
    return MlflowLink(
        tracking_uri=facts.deliveries.tracking_uri,
        experiment=facts.deliveries.experiment,
        run_id=run.run_id if run else None,
        parent_run_id=parent.run_id if parent else None,
    )


def _search(selection: Selection) -> SearchLink:
    return SearchLink(
        study=selection.study,
        step=selection.step,
        trial=selection.trial,
        params=selection.params,
        metric=selection.result.metric,
        value=selection.value,
        step1_value=selection.step1_value,
    )


def _evaluation(facts: Facts) -> EvaluationLink:
    return EvaluationLink(
        scores=facts.scores,
        figures=facts.figures,
        weights=facts.checkpoint,
        metric=facts.evaluation.request.metric,
        loss=facts.evaluation.winner.loss,
        skill=mean_skill(facts.evaluation.winner),
        start=facts.evaluation.request.test.start,
        end=facts.evaluation.request.test.end,
        summary=summary(facts.evaluation),
    )
