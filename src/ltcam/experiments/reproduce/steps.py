"""The paper's experimental section at one command: the job behind `ltcam reproduce`.

Training, comparison, tuning, open questions, figures and folds are steps. Each ends as a finished folder below a
hidden work folder beside the results, and is not repeated when a killed reproduction goes on; what is unfinished
goes on at the next epoch or image. All that the page shows is read from files of these folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import get_args

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import merge_groups
from ltcam.data.layouts import ksdd, ksdd2
from ltcam.data.opened import OpenData
from ltcam.data.splits import kfold
from ltcam.experiments.ablation.measure import AblationSettings, ablate_runs
from ltcam.experiments.ablation.written import ABLATION_FILE
from ltcam.experiments.compare.contenders import ContenderSettings
from ltcam.experiments.compare.measure import COMPARE_FILE, CompareSettings, compare_run
from ltcam.experiments.journal import kept_work
from ltcam.experiments.opened import Source
from ltcam.experiments.reproduce.figures.draw import FIGURES_FILE, FigureSettings, make_figures
from ltcam.experiments.reproduce.finished import Finished, assemble
from ltcam.experiments.reproduce.reproduction import Kind, Planned, Reproduction, SyntheticSet
from ltcam.experiments.tune.measure import TUNE_FILE, TuneSettings, tune_run
from ltcam.experiments.tune.percentile_maps import PercentileMaps
from ltcam.jobs.execution import Execution
from ltcam.jobs.training import train
from ltcam.runs.folder import read_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.run import RUN_FILE, WEIGHTS_FILE
from ltcam.runs.unfinished import resumable
from ltcam.synth import SynthesisSettings, synthesise
from ltcam.synth.write import MARKER as SYNTH_FILE
from ltcam.training.settings import TrainingSettings
from ltcam_runtime.errors import SettingsError
from ltcam_runtime.files import file_sha256
from ltcam_runtime.folders import output_folder

REPRODUCTION_FILE = "reproduction.json"

_LAYOUTS: Mapping[str, str] = {"ksdd": ksdd.NAME, "ksdd2": ksdd2.NAME}
_WORK = "reproduction"


@dataclass(frozen=True)
class Plan:
    """What is to be reproduced, and how.

    Attributes:
        kind: the data set.
        training: of the classifier, on the paper's split and on every fold; its seed is that of everything.
        maps: the maps that are compared and drawn.
        tuning: IoU against the percentile, and the percentile chosen.
        questions: what the paper leaves open, answered by measurement.
        folds: of groups, to train and compare on as well, without probing; 0 for none.
        rows: images in each figure.
        bootstrap: resamples of the intervals.
        synthetic: the set to make, where `kind` is `synthetic`.
    """

    kind: Kind
    training: TrainingSettings
    maps: ContenderSettings = field(default_factory=partial(ContenderSettings, probing=True))
    tuning: bool = True
    questions: bool = True
    folds: int = 0
    rows: int = 3
    bootstrap: int = 1000
    synthetic: SyntheticSet = field(default_factory=SyntheticSet)

    def values(self) -> Planned:
        """As results keep it."""
        given = {**asdict(self), "training": self.training.model_dump(mode="json")}
        given |= {name: value for name, value in given.pop("maps").items() if value is not None}
        if self.kind != "synthetic":
            del given["synthetic"]
        return Planned.model_validate(given)


@dataclass(frozen=True)
class AtHand:
    """What is there already, and need not be made.

    Attributes:
        data: data set; None for `synthetic`, which makes its own.
        layout: of the data; None takes that of the kind.
        run: a run folder to use instead of training one.
        fold_runs: run folders, one per fold, to use instead of training `Plan.folds` of them.
    """

    data: Path | None = None
    layout: str | None = None
    run: Path | None = None
    fold_runs: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class _Shared:
    """What all steps share. Data and runs are opened when first asked for, and once.

    Attributes:
        plan: what to do.
        folder: of finished steps.
        root: of the data.
        opened: the data, unless a step draws them.
        layout: of the data.
        run: the run's folder.
        fold_runs: those of the folds.
        execution: how it is carried out.
        sources: runs that are open, by folder.
    """

    plan: Plan
    folder: Path
    root: Path
    opened: OpenData | None
    layout: str | None
    run: Path
    fold_runs: tuple[Path, ...]
    execution: Execution
    sources: dict[Path, Source] = field(default_factory=dict)

    @cached_property
    def data(self) -> OpenData:
        return self.opened or OpenData.open(self.root, self.layout, one_class=False)

    @cached_property
    def folds(self) -> Sequence[Dataset]:
        dataset = merge_groups(self.data.dataset, self.data.duplicates)
        return kfold(dataset, self.plan.folds, seed=self.plan.training.seed)

    def source(self, run: Path) -> Source:
        if run not in self.sources:
            self.sources[run] = Source.open(run, self.data, device=self.execution.device)
        return self.sources[run]

    def of_step(self, words: str) -> Execution:
        """How a step is carried out: it goes on with what an earlier try left, and its name stands before its jobs'."""
        listener = self.execution.listener
        listener.begun(words)
        named = replace(listener, begun=lambda name: listener.begun(f"{words}: {name}"))
        return replace(self.execution, resume=True, overwrite=False, listener=named)


@dataclass(frozen=True)
class _Step:
    """One step.

    Attributes:
        words: what it does, for people.
        made: a file that is there once it is done.
        do: does it; given the words to show.
    """

    words: str
    made: Path
    do: Callable[[str], None]


def reproduce(at_hand: AtHand, out: Path, plan: Plan, execution: Execution = Execution()) -> Reproduction:
    """Run the paper's experiments and write a page, the figures, and every number.

    Classifiers are trained on image labels. Masks measure, and where a choice uses them, its name says so.

    Args:
        at_hand: data and runs that are there already.
        out: folder to write report.html, reproduction.json, and a folder per step to.
        plan: what to do.
        execution: device, what becomes of work and results that are there, who is told about progress.

    Returns:
        What was written to reproduction.json.

    Raises:
        LtcamError: data, settings, weights or output that cannot be used.
        KeyboardInterrupt: saying how to continue.
    """
    _check(plan, at_hand)
    choose_device(execution.device)
    layout = at_hand.layout or _LAYOUTS.get(plan.kind)
    resume, overwrite = execution.resume, execution.overwrite
    with output_folder(out, marker=REPRODUCTION_FILE, overwrite=overwrite) as folder:
        data = None if at_hand.data is None else OpenData.open(at_hand.data, layout, one_class=False)
        begun = {
            "plan": plan.values().to_json(),
            "layout": layout,
            "run": None if at_hand.run is None else _hash_of(at_hand.run),
            "fold_runs": [_hash_of(fold_run) for fold_run in at_hand.fold_runs],
            "data": None if data is None else data.fingerprint,
        }
        with kept_work(out, _WORK, begun, resume=resume, overwrite=overwrite) as kept:
            shared = _shared(at_hand, data, kept, plan, execution)
            steps = _steps(shared, train_first=at_hand.run is None)
            for number, step in enumerate(steps, start=1):
                if not step.made.is_file():
                    step.do(f"{number}/{len(steps)} {step.words}")
            finished = Finished(
                kept, shared.source(shared.run), shared.fold_runs, plan.values(), execution.command
            )
            return assemble(folder, finished, title=out.name)


def _shared(at_hand: AtHand, data: OpenData | None, kept: Path, plan: Plan, execution: Execution) -> _Shared:
    return _Shared(
        plan=plan,
        folder=kept,
        root=at_hand.data or kept / "data",
        opened=data,
        layout=at_hand.layout or _LAYOUTS.get(plan.kind),
        run=at_hand.run or kept / "run",
        fold_runs=at_hand.fold_runs
        or tuple(kept / "fold-runs" / f"fold-{number}" for number in range(1, plan.folds + 1)),
        execution=execution,
    )


def _check(plan: Plan, given: AtHand) -> None:
    if plan.kind not in get_args(Kind):
        raise SettingsError(f"{plan.kind} is unknown; choose from {', '.join(get_args(Kind))}")
    if (plan.kind == "synthetic") != (given.data is None):
        wanted = (
            "makes its own data; give none" if given.data is not None else "needs data; give their folder"
        )
        raise SettingsError(f"{plan.kind} {wanted}")
    if plan.folds == 1 or plan.folds < 0:
        raise SettingsError(f"`folds` {plan.folds}: give 2 or more, or 0 for none")
    if given.fold_runs and plan.folds:
        raise SettingsError("`folds` trains runs, `fold_run` names trained ones; give one of them")


def _hash_of(run: Path) -> str:
    """A run by its settings and weights."""
    read_run(run)
    return file_sha256(run / RUN_FILE) + file_sha256(run / WEIGHTS_FILE)


# ---------------------------------------------------------------------------------------- steps


def _steps(shared: _Shared, *, train_first: bool) -> list[_Step]:
    plan, folder = shared.plan, shared.folder
    compared, asked, asked_folds = folder / "compare", folder / "questions", folder / "questions-folds"
    own = [shared.run]
    steps = [
        (
            plan.kind == "synthetic",
            _Step("drawing the data", shared.root / SYNTH_FILE, partial(_draw, shared)),
        ),
        (train_first, _Step("making a run", shared.run / RUN_FILE, partial(_train, shared))),
        (
            True,
            _Step(
                "comparing methods", compared / COMPARE_FILE, partial(_compare, shared, shared.run, compared)
            ),
        ),
        (plan.tuning, _Step("tuning the percentile", folder / "tune" / TUNE_FILE, partial(_tune, shared))),
        (
            plan.questions,
            _Step("open questions", asked / ABLATION_FILE, partial(_ablate, shared, own, asked)),
        ),
        (True, _Step("drawing figures", folder / "figures" / FIGURES_FILE, partial(_figures, shared))),
        *(
            (
                True,
                _Step(
                    f"fold {number} of {len(shared.fold_runs)}",
                    _fold_folder(shared, number) / COMPARE_FILE,
                    partial(_fold, shared, number),
                ),
            )
            for number in range(1, len(shared.fold_runs) + 1)
        ),
        (
            plan.questions and bool(shared.fold_runs),
            _Step(
                "open questions, over folds",
                asked_folds / ABLATION_FILE,
                partial(_ablate, shared, shared.fold_runs, asked_folds),
            ),
        ),
    ]
    return [step for wanted, step in steps if wanted]


def _fold_folder(shared: _Shared, number: int) -> Path:
    return shared.folder / "folds" / str(number) / "compare"


def _draw(shared: _Shared, words: str) -> None:
    wanted = shared.plan.synthetic
    synthesise(
        shared.root,
        SynthesisSettings(
            surfaces=wanted.surfaces,
            images_per_surface=wanted.images,
            size=wanted.size,
            seed=shared.plan.training.seed,
        ),
        progress=shared.of_step(words).listener.progress,
    )


def _train(shared: _Shared, words: str) -> None:
    _train_on(shared, shared.data, shared.run, words)


def _train_on(shared: _Shared, data: OpenData, run: Path, words: str) -> None:
    """Train as `ltcam train` does, into `run`; continues at the next epoch with what an earlier try left."""
    train(data, run, shared.plan.training, replace(shared.of_step(words), resume=resumable(run)))


def _compare(shared: _Shared, run: Path, out: Path, words: str, *, probing: bool | None = None) -> None:
    maps = shared.plan.maps if probing is None else replace(shared.plan.maps, probing=probing)
    # An image takes minutes where channels are probed, and is what a kill loses.
    execution = replace(shared.of_step(words), batch_size=1 if maps.probing else 4)
    compare_run(shared.source(run), out, CompareSettings(maps, bootstrap=shared.plan.bootstrap), execution)


def _tune(shared: _Shared, words: str) -> None:
    maps = PercentileMaps(positive_activations=shared.plan.maps.positive_activations)
    settings = TuneSettings(maps, bootstrap=shared.plan.bootstrap)
    tune_run(shared.source(shared.run), shared.folder / "tune", settings, shared.of_step(words))


def _ablate(shared: _Shared, runs: Sequence[Path], out: Path, words: str) -> None:
    settings = AblationSettings(
        positive_activations=shared.plan.maps.positive_activations, bootstrap=shared.plan.bootstrap
    )
    ablate_runs([shared.source(run) for run in runs], out, settings, shared.of_step(words))


def _figures(shared: _Shared, words: str) -> None:
    settings = FigureSettings(shared.plan.maps, images=shared.plan.rows)
    make_figures(
        shared.source(shared.run),
        shared.folder / "figures",
        settings,
        shared.of_step(words),
        kept=shared.folder / "figure-maps",
    )


def _fold(shared: _Shared, number: int, words: str) -> None:
    """Training and comparison on one fold of groups; sides that the data set names play no part."""
    run = shared.fold_runs[number - 1]
    if not (run / RUN_FILE).is_file():
        _train_on(shared, shared.data.with_dataset(shared.folds[number - 1]), run, words)
    _compare(shared, run, _fold_folder(shared, number), words, probing=False)
