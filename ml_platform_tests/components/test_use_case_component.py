"""A YAML file in a Dagster project becomes a use case, or an error that names the line and what was meant."""

import re
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster.components.testing import DefsFolderSandbox, create_defs_folder_sandbox

from ml_platform.components import UseCase
from ml_platform.use_case import PLATFORM_CHECKS, STAGES, CheckedStage, PythonSource

# dagster 1.13 notes the place of every YAML file with it; drop when it is stable
pytestmark = pytest.mark.filterwarnings("ignore:Class `.*CodeReference.*` is currently in beta")

YAML = """\
type: ml_platform.components.UseCase
attributes:
  name: returns
  description: Which parcels come back.
  task: binary_classification
  source: {type: python, function: .simulator:parcels}
  partitions:
    every: day
    start: 2024-01-01
  contract:
    key: [id]
    event_time: at
    columns:
      id: {type: int64}
      at: {type: datetime}
      returned: {type: int64, one_of: [0, 1]}
  features:
    transform: .features:build
    lookback: 7 days
  label: {column: returned, known_after: 14 days}
  model:
    train_on: 28 days
    hold_out: 14 days
    estimator: sklearn.ensemble.HistGradientBoostingClassifier
    seed: 42
  gates:
    - metric: roc_auc
      at_least: 0.8
  checks:
    - {name: no_gap, stage: validated_data, function: .checks:no_gap, arguments: {hours: 6}}
    - name: plausible
      stage: features
      function: .checks:plausible
      severity: warn
  registry: {name: returns}
"""


class Project:
    """A temporary Dagster project with one use case in its folder `returns`."""

    def __init__(self, sandbox: DefsFolderSandbox) -> None:
        self.sandbox = sandbox
        self.folder = sandbox.defs_folder_path / "returns"
        self.package = f"{sandbox.project_name}.defs.returns"
        self.folder.mkdir()
        (sandbox.defs_folder_path.parent / "__init__.py").touch()
        self.write("features.py", "def build(rows): return rows")
        self.write("simulator.py", "def parcels(start, end): raise NotImplementedError")
        self.write("checks.py", "def no_gap(rows, hours): return None\ndef plausible(rows): return None")
        self.write("defs.yaml", YAML)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def put(self, instead: str, text: str) -> str:
        """Put a text instead of another in the YAML file; returns the place as `file:line`."""
        before, found, after = YAML.partition(instead)
        assert found
        self.write("defs.yaml", before + text + after)
        return f"{self.folder / 'defs.yaml'}:{before.count(chr(10)) + 1}"

    def load(self) -> tuple[UseCase, dg.Definitions]:
        with self.sandbox.load_component_and_build_defs(defs_path=self.folder) as (component, definitions):
            assert isinstance(component, UseCase)
            return component, definitions

    def error(self) -> str:
        with pytest.raises(Exception, match="Error while loading component") as refusal:
            self.load()
        return str(refusal.value.__cause__)


@pytest.fixture
def project() -> Iterator[Project]:
    with create_defs_folder_sandbox() as sandbox:
        yield Project(sandbox)


def test_a_yaml_file_becomes_the_assets_and_checks_of_all_stages(project: Project) -> None:
    component, definitions = project.load()
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    assert {key for asset in assets for key in asset.keys} == {dg.AssetKey(["returns", stage]) for stage in STAGES}
    assert dg.AssetCheckKey(dg.AssetKey(["returns", "promotion"]), "roc_auc_at_least") in {
        key for asset in assets for key in asset.check_keys
    }
    assert component.label.known_after.days == 14


def test_automation_is_switched_on_in_the_file(project: Project) -> None:
    _, definitions = project.load()
    assert {one.default_status for one in definitions.schedules or ()} == {dg.DefaultScheduleStatus.STOPPED}
    project.put("  registry:", "  automation: {on: true, time_zone: Europe/Berlin}\n  registry:")
    component, definitions = project.load()
    assert component.automation.on
    assert {one.name for one in definitions.schedules or ()} == {"returns__data", "returns__training"}
    assert {one.default_status for one in definitions.schedules or ()} == {dg.DefaultScheduleStatus.RUNNING}
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    fresh = {spec.key.path[-1] for asset in assets for spec in asset.specs if spec.freshness_policy}
    assert fresh == {"features", "predictions"}


@pytest.mark.parametrize("stage", PLATFORM_CHECKS)
def test_no_name_is_free_that_the_platform_gives_a_check(project: Project, stage: CheckedStage) -> None:
    project.write("defs.yaml", re.sub("  checks:.*(?=  registry)", "", YAML, flags=re.DOTALL))
    _, definitions = project.load()
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    names = {key.name for asset in assets for key in asset.check_keys if key.asset_key.path[-1] == stage}
    assert names
    assert names <= set(PLATFORM_CHECKS[stage])


def test_dg_scaffold_gives_a_use_case_with_blanks_that_loads(project: Project) -> None:
    folder = project.sandbox.scaffold_component(UseCase, defs_path="houses")
    text = (folder / "defs.yaml").read_text()
    assert "name: houses" in text
    assert text.count("\n    # ") > 5, "the comments are there"
    with project.sandbox.load_component_and_build_defs(defs_path=folder) as (component, definitions):
        assert isinstance(component, UseCase)
        assert component.registry.name == "houses"
        assert definitions.assets


def test_a_relative_reference_is_resolved_beside_the_yaml_file(project: Project) -> None:
    component, _ = project.load()
    assert component.features.transform == f"{project.package}.features:build"
    assert isinstance(component.source, PythonSource)
    assert component.source.function == f"{project.package}.simulator:parcels"
    assert component.model.estimator == "sklearn.ensemble.HistGradientBoostingClassifier"
    assert [check.function for check in component.checks] == [
        f"{project.package}.checks:no_gap",
        f"{project.package}.checks:plausible",
    ]


@pytest.mark.parametrize(
    ("instead", "text", "field", "sentence"),
    [
        ("known_after:", "knwon_after:", "label.knwon_after", "unknown key 'knwon_after'; did you mean 'known_after'?"),
        ("seed: 42", "seeed: 42", "model.seeed", "unknown key 'seeed'; did you mean 'seed'?"),
        ("seed: 42", "seed: forty", "model.seed", "(here: 'forty')."),
        (
            "returned: {type: int64",
            "returned: {type: int",
            "contract.columns.returned.type",
            "'int' is not allowed here; did you mean 'int64'?",
        ),
        (
            "metric: roc_auc",
            "metric: roc_acu",
            "gates.0.metric",
            "binary_classification has no metric 'roc_acu'; did you mean 'roc_auc'?",
        ),
        ("lookback: 7 days", "lookback: a week", "features.lookback", "'a week' is no duration;"),
        (
            "{column: returned,",
            "{column: retruned,",
            "label.column",
            "the contract has no column 'retruned'; did you mean 'returned'?",
        ),
        (
            "HistGradientBoostingClassifier",
            "HistGradientBoostingClassifer",
            "model.estimator",
            "'sklearn.ensemble' has no 'HistGradientBoostingClassifer'; did you mean 'HistGradientBoostingClassifier'?",
        ),
        (".features:build", ".features:biuld", "features.transform", "has no 'biuld'; did you mean 'build'?"),
        (
            ".simulator:parcels",
            ".simulater:parcels",
            "source.function",
            "has no module 'simulater'; did you mean 'simulator'?",
        ),
        ("checks:no_gap", "checks:no_gaps", "checks.0.function", "has no 'no_gaps'; did you mean 'no_gap'?"),
        ("checks:plausible", "checks:plausibel", "checks.1.function", "has no 'plausibel'; did you mean 'plausible'?"),
        ("severity: warn", "severity: warning", "checks.1.severity", "did you mean 'warn'?"),
        (
            "- name: plausible",
            "- name: complete",
            "checks.1.name",
            "features has a check 'complete' of the platform's; choose another name.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_field_and_line_and_what_was_meant(
    project: Project, instead: str, text: str, field: str, sentence: str
) -> None:
    place = project.put(instead, text)
    error = project.error()
    assert f"attributes.{field} at {place}" in error
    assert sentence in error


def test_a_wrong_date_is_told_with_its_block_and_value(project: Project) -> None:
    project.put("start: 2024-01-01", "start: 2024-01-32")
    error = project.error()
    assert "attributes.partitions." in error
    assert f".start at {project.folder / 'defs.yaml'}:" in error
    assert "Input should be a valid date or datetime" in error
    assert "(here: '2024-01-32')." in error


def test_a_wrong_date_is_told_with_its_field_alone(project: Project) -> None:
    place = project.put("start: 2024-01-01", "start: 2024-01-32")
    error = project.error()
    assert f"attributes.partitions.start at {place}" in error
    assert error.startswith("1 validation error")


def test_several_mistakes_are_told_at_once(project: Project) -> None:
    project.write("defs.yaml", YAML.replace("seed: 42", "seed: forty").replace("known_after:", "knwon_after:"))
    error = project.error()
    assert "attributes.model.seed at " in error
    assert "attributes.label.knwon_after at " in error


def test_a_text_may_come_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHAT_FOR", "Which parcels will come back.")
    monkeypatch.setenv("ESTIMATOR", "sklearn.linear_model.LogisticRegression")
    project.write(
        "defs.yaml",
        YAML.replace("Which parcels come back.", "'{{ env.WHAT_FOR }}'").replace(
            "sklearn.ensemble.HistGradientBoostingClassifier", "'{{ env.ESTIMATOR }}'"
        ),
    )
    component, _ = project.load()
    assert component.description == "Which parcels will come back."
    assert component.model.estimator == "sklearn.linear_model.LogisticRegression"


def test_a_text_that_python_would_read_as_a_number_stays_text(project: Project) -> None:
    project.put("id: {type: int64}", "id: {type: int64}\n      kind: {type: string, one_of: ['1', 'None']}")
    component, _ = project.load()
    assert component.contract.columns["kind"].one_of == ["1", "None"]


def test_a_reference_from_the_environment_is_checked_too(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTIMATOR", "sklearn.linear_model.LogisticRegresion")
    place = project.put("sklearn.ensemble.HistGradientBoostingClassifier", "'{{ env.ESTIMATOR }}'")
    assert project.error() == (
        f"attributes.model.estimator at {place}: "
        "'sklearn.linear_model' has no 'LogisticRegresion'; did you mean 'LogisticRegression'?"
    )


def test_an_environment_variable_that_is_not_set_is_told_with_its_line(project: Project) -> None:
    place = project.put("Which parcels come back.", "'{{ env.NOT_SET_ANYWHERE }}'")
    error = project.error()
    assert f"attributes.description at {place}" in error
    assert "NOT_SET_ANYWHERE" in error


def test_the_registry_may_come_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY", "returns_in_test")
    project.put("registry: {name: returns}", "registry: {name: '{{ env.REGISTRY }}'}")
    component, _ = project.load()
    assert component.registry.name == "returns_in_test"


def test_a_mistake_in_the_source_is_told_with_its_line(project: Project) -> None:
    place = project.put(
        "  source: {type: python, function: .simulator:parcels}",
        "  source:\n    type: files\n    path: data.csv\n    format: excel",
    )
    file, _, line = place.rpartition(":")
    assert f"attributes.source.format at {file}:{int(line) + 3}" in project.error()


def test_a_mistake_in_the_python_beside_the_yaml_file_is_told_with_its_file(project: Project) -> None:
    project.write("features.py", "def build(rows:")
    assert "(features.py, line 1)" in project.error()


def test_a_project_without_init_is_found(project: Project) -> None:
    (project.sandbox.defs_folder_path.parent / "__init__.py").unlink()
    component, _ = project.load()
    assert component.features.transform == f"{project.package}.features:build"
