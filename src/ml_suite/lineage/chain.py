"""Join records to a graph: every edge names the uuid or checksum that both of its ends carry; pure."""

from __future__ import annotations

from ml_suite.lineage.checkpoint import identity
from ml_suite.lineage.graph import Edge, Fact, Graph, Kind, Node
from ml_suite.lineage.records import Records, locations, mentions
from ml_suite.lineage.training import CheckpointLink, DatasetLink, SourceFile, TrainingMetadata, Version


def build(records: Records) -> Graph:
    """Graph of all trainings found, in the order of the chain."""
    chain = _Chain(records)
    for training in records.trainings:
        chain.add(training)
    for uuid in records.datasets:
        chain.dataset(uuid, None)
    for uuid in records.weights:
        chain.weights(uuid)
    order = list(Kind)
    return Graph(sorted(chain.nodes.values(), key=lambda n: order.index(n.kind)), [*chain.edges.values()])


class _Chain:
    """Collects nodes and edges, each once."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.nodes: dict[str, Node] = {}
        self.edges: dict[tuple[str, str], Edge] = {}

    def add(self, training: TrainingMetadata) -> None:
        """Add everything that one suite's entry leads to."""
        recipe = self._file(Kind.RECIPE, training.git.recipe)
        data = [self.dataset(link.uuid, link) for link in training.datasets]
        for node, link in zip(data, training.datasets, strict=True):
            self._recipe_to_dataset(recipe, node, link, training.git.recipe)
        entry = self._training(training)
        for version in training.history:
            self._version(training, version, data, entry)

    def dataset(self, uuid: str, link: DatasetLink | None) -> str:
        """Add a dataset and the places where it lies."""
        record = self.records.datasets.get(uuid)
        node = f"dataset:{uuid}"
        manifest = link.manifest if link else None
        if node not in self.nodes or link:
            name = link.name if link else str((record or {}).get("name", uuid))
            facts: dict[str, Fact] = {"uuid": uuid, "name": name, "manifest": manifest}
            self._put(Node(node, Kind.DATASET, name, record is not None, facts))
        for platform, path in locations(record or {}).items():
            place = f"location:{path}"
            self._put(Node(place, Kind.LOCATION, path, True, {"platform": platform, "address": path}))
            if manifest is None:
                self._join(node, place, "dataset uuid", uuid)
            else:
                missing = (
                    "" if mentions(record, manifest) else "the dataset's entry does not mention the manifest"
                )
                self._join(node, place, "manifest sha256", manifest, missing)
        return node

    def weights(self, uuid: str, checkpoint: CheckpointLink | None = None) -> str:
        """Add weights, the data they saw, and their object in S3."""
        record = self.records.weights.get(uuid)
        node = f"weights:{uuid}"
        metadata = (record or {}).get("metadata")
        inside = identity(metadata if isinstance(metadata, dict) else {})
        facts: dict[str, Fact] = {"uuid": uuid, "trainer_run_id": inside.run_id}
        if checkpoint:
            facts |= {"sha256": checkpoint.sha256, "size": checkpoint.size}
        if node not in self.nodes or checkpoint:
            self._put(Node(node, Kind.WEIGHTS, uuid, record is not None, facts))
        for data in inside.dataset_uuids:
            self._join(self.dataset(data, None), node, "dataset uuid", data, self._absent(f"dataset:{data}"))
        if checkpoint:
            self._stored(node, checkpoint, record is not None and checkpoint.s3 in locations(record).values())
        return node

    def _recipe_to_dataset(self, recipe: str, node: str, link: DatasetLink, source: SourceFile) -> None:
        record = self.records.datasets.get(link.uuid)
        if record is None:
            broken = "the catalogue does not know the dataset"
        else:
            broken = (
                "" if mentions(record, source.sha256) else "the dataset's entry does not mention this recipe"
            )
        self._join(recipe, node, "recipe sha256", source.sha256, broken)

    def _version(self, training: TrainingMetadata, version: Version, data: list[str], entry: str) -> None:
        study = f"study:{version.study}"
        self._put(
            Node(study, Kind.STUDY, version.study, True, {"study": version.study, "cycle": version.cycle})
        )
        if version == training.history[-1]:  # the entry's datasets and files are those of the latest cycle
            self._made_from(training, study, data)
        trial = self._trial(training, version, study)
        source_node = self._run(training, version, trial)
        if version.checkpoint is None:
            return
        node = self.weights(version.checkpoint.uuid, version.checkpoint)
        if version.run_id:
            inside = self.nodes[node].facts.get("trainer_run_id")
            broken = "" if inside == version.run_id else f"the checkpoint says run {inside}"
            self._join(source_node, node, "trainer run id", version.run_id, broken or self._absent(node))
        self._evaluation(training, version.checkpoint, node)
        if training.promoted == version.checkpoint.uuid:
            self._join(node, entry, "weights uuid", version.checkpoint.uuid, self._absent(node))

    def _made_from(self, training: TrainingMetadata, study: str, data: list[str]) -> None:
        for node, link in zip(data, training.datasets, strict=True):
            self._join(node, study, "dataset uuid", link.uuid, self._absent(node))
        for kind, source in ((Kind.CONFIG, training.git.config), (Kind.DEPLOYMENT, training.git.deployment)):
            if source:
                self._join(self._file(kind, source), study, f"{kind} sha256", source.sha256)

    def _trial(self, training: TrainingMetadata, version: Version, study: str) -> str:
        trial = f"trial:{version.study}/{version.trial}"
        facts: dict[str, Fact] = {"study": version.study, "trial": version.trial, "value": version.value}
        if version == training.history[-1]:
            facts |= {"step1_value": training.hpo.step1_value, "metric": training.hpo.metric}
            facts |= {f"param {name}": str(value) for name, value in training.hpo.params.items()}
        self._put(Node(trial, Kind.TRIAL, f"trial {version.trial}", True, facts))
        self._join(study, trial, "study id", version.study)
        return trial

    def _run(self, training: TrainingMetadata, version: Version, trial: str) -> str:
        """Add the MLflow run of the latest version; older versions go from their trial to the weights."""
        if version != training.history[-1] or training.mlflow.run_id is None:
            return trial
        run = self.records.runs.get(training.mlflow.run_id)
        node = f"run:{training.mlflow.run_id}"
        facts: dict[str, Fact] = {
            "run_id": training.mlflow.run_id,
            "tracking_uri": training.mlflow.tracking_uri,
        }
        facts |= {"parent_run_id": training.mlflow.parent_run_id, "status": run.status if run else None}
        self._put(Node(node, Kind.RUN, run.name if run else training.mlflow.run_id, run is not None, facts))
        if run is None:
            broken = self.records.unreachable or "MLflow does not know the run"
        else:
            broken = "" if mentions(run.tags, version.study) else "the run's tags do not mention the study"
        self._join(trial, node, "study id", version.study, broken)
        return node

    def _evaluation(self, training: TrainingMetadata, checkpoint: CheckpointLink, weights: str) -> None:
        found = training.evaluation
        if found is None or found.weights is None or found.weights.uuid != checkpoint.uuid:
            return
        node = f"evaluation:{found.scores.sha256}"
        facts: dict[str, Fact] = {
            "sha256": found.scores.sha256,
            "s3": found.scores.s3,
            "metric": found.metric,
        }
        facts |= {"loss": found.loss, "skill": found.skill}
        facts |= {f"figure {kind}": figure.s3 for kind, figure in found.figures.items()}
        self._put(Node(node, Kind.EVALUATION, found.summary, True, facts))
        same = found.weights.sha256 == checkpoint.sha256
        self._join(
            weights, node, "weights sha256", found.weights.sha256, "" if same else "other bytes were judged"
        )

    def _stored(self, node: str, checkpoint: CheckpointLink, listed: bool) -> None:
        place = f"object:{checkpoint.s3}"
        facts: dict[str, Fact] = {"s3": checkpoint.s3, "sha256": checkpoint.sha256, "size": checkpoint.size}
        self._put(Node(place, Kind.OBJECT, checkpoint.s3, True, facts))
        broken = "" if listed else "the weights' entry does not list this address"
        self._join(node, place, "weights sha256", checkpoint.sha256, broken)

    def _training(self, training: TrainingMetadata) -> str:
        node = f"training:{training.uuid}"
        facts: dict[str, Fact] = {"uuid": training.uuid, "name": training.name, "cycle": training.cycle}
        facts |= {"ecflow_path": training.ecflow_path, "host": training.host, "promoted": training.promoted}
        self._put(Node(node, Kind.TRAINING, training.name, True, facts))
        return node

    def _file(self, kind: Kind, source: SourceFile) -> str:
        node = f"{kind}:{source.sha256}"
        facts: dict[str, Fact] = source.model_dump()
        self._put(Node(node, kind, source.path, True, facts))
        return node

    def _absent(self, node: str) -> str:
        known = self.nodes.get(node)
        return "" if known is None or known.present else "the catalogue does not know it"

    def _put(self, node: Node) -> None:
        self.nodes[node.id] = node

    def _join(self, source: str, target: str, by: str, value: str, broken: str = "") -> None:
        self.edges.setdefault((source, target), Edge(source, target, by, value, broken))
