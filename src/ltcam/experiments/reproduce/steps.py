"""The paper's experimental section at one command: the job behind `ltcam reproduce`.

Training, comparison, tuning, open questions, figures and folds are steps. Each ends as a finished folder below a
hidden work folder beside the results, and is not repeated when a killed reproduction goes on; what is unfinished
goes on at the next epoch or image. All that the page shows is read from files of these folders.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ltcam.data.dataset import Dataset
from ltcam.data.duplicates import file_sha256, find_duplicates, merge_groups
from ltcam.data.fingerprint import content_hashes, fingerprint
from ltcam.data.layouts import ksdd, ksdd2, read_dataset
from ltcam.data.splits import kfold
from ltcam.defaults import default_cam
from ltcam.experiments.ablation.measure import QUESTIONS_FILE, ask_runs
from ltcam.experiments.compare.measure import COMPARE_FILE, compare_run
from ltcam.experiments.journal import work_folder
from ltcam.experiments.reproduce.figures.draw import FIGURES_FILE, make_figures
from ltcam.experiments.reproduce.results import assemble
from ltcam.experiments.tune.measure import TUNE_FILE, tune_run
from ltcam.experiments.tune.percentile_maps import DeltaMaps
from ltcam.inspector import choose_device
from ltcam.learning import with_sharpening, write_trained
from ltcam.runs import RUN_FILE, WEIGHTS_FILE, read_run
from ltcam.synth import MIXED, synthesise
from ltcam.synth.write import MARKER as SYNTH_FILE
from ltcam.training.fit import LAST
from ltcam.training.settings import TrainingSettings
from ltcam.training.train import Listener, train
from ltcam_runtime.errors import OutputError, RunError, SettingsError
from ltcam_runtime.folders import output_folder, write_file

REPRODUCTION_FILE = "reproduction.json"

Kind = Literal["ksdd", "ksdd2", "synthetic"]
Progress = Callable[[int, int], None]
Bar = Callable[[str], AbstractContextManager[Progress]]
"""Words for a step to a block in which its progress (done, total) is shown."""

_LAYOUTS: Mapping[str, str] = {"ksdd": ksdd.NAME, "ksdd2": ksdd2.NAME}
_WORK = "reproduction"
_SETTINGS_FILE = "settings.json"


@dataclass(frozen=True)
class SyntheticSet:
    """The set that `ltcam reproduce synthetic` makes for itself; see `ltcam.synth.synthesise`."""

    surfaces: tuple[str, ...] = MIXED
    images: int = 36
    size: tuple[int, int] = (192, 256)


@dataclass(frozen=True)
class Plan:
    """What is to be reproduced, and how.

    Attributes:
        kind: the data set.
        training: of the classifier, on the paper's split and on every fold; its seed is that of everything.
        percentile: delta of the LT forms that are compared and drawn, 0 to 100.
        probing: also Score-CAM and Ablation-CAM.
        probing_bfloat16: these two ask the network in bfloat16.
        positive_activations: use only the positive part of activations in the methods compared with.
        tuning: IoU against delta, and delta chosen.
        questions: what the paper leaves open, answered by measurement.
        folds: of groups, to train and compare on as well, without probing; 0 for none.
        rows: images in each figure.
        bootstrap: resamples of the intervals.
        synthetic: the set to make, where `kind` is `synthetic`.
    """

    kind: Kind
    training: TrainingSettings
    percentile: float = 50
    probing: bool = True
    probing_bfloat16: bool = False
    positive_activations: bool = False
    tuning: bool = True
    questions: bool = True
    folds: int = 0
    rows: int = 3
    bootstrap: int = 1000
    synthetic: SyntheticSet = field(default_factory=SyntheticSet)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {**asdict(self), "training": self.training.model_dump(mode="json")}
        if self.kind != "synthetic":
            del values["synthetic"]
        return dict(json.loads(json.dumps(values)))


@dataclass(frozen=True)
class _Work:
    """What all steps share."""

    plan: Plan
    data: Path
    layout: str | None
    folder: Path
    run: Path
    fold_runs: tuple[Path, ...]
    device: str
    command: str
    bar: Bar
    say: Callable[[str], None]


@dataclass(frozen=True)
class _Step:
    """One step.

    Attributes:
        words: what it does, for people.
        made: a file that is there once it is done.
        work: does it.
    """

    words: str
    made: Path
    work: Callable[[str], None]


def reproduce(  # noqa: PLR0913  # the options of a command
    plan: Plan,
    data: Path | None,
    out: Path,
    *,
    run: Path | None = None,
    fold_runs: Sequence[Path] = (),
    layout: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    command: str = "",
    bar: Bar = lambda _words: nullcontext(lambda _done, _total: None),
    say: Callable[[str], None] = lambda _sentence: None,
) -> Mapping[str, Any]:
    """Run the paper's experiments and write a page, the figures, and every number.

    Classifiers are trained on image labels. Masks measure, and where a choice uses them, its name says so.

    Args:
        plan: what to do.
        data: data set; None for `synthetic`, which makes its own.
        out: folder to write report.html, reproduction.json, and a folder per step to.
        run: a run folder to use instead of training one.
        fold_runs: run folders, one per fold, to use instead of training `plan.folds` of them.
        layout: of the data; None takes that of the kind.
        device: `auto`, `cpu` or `cuda`.
        resume: go on with a reproduction that was stopped.
        overwrite: replace existing results, and unfinished ones.
        command: kept in the results.
        bar: called once per step that takes long.
        say: told a sentence now and then.

    Returns:
        What was written to reproduction.json.

    Raises:
        LtcamError: data, settings, weights or output that cannot be used.
        KeyboardInterrupt: saying how to go on.
    """
    _check(plan, data, fold_runs)
    choose_device(device)
    work = work_folder(out, _WORK)
    layout = layout or _LAYOUTS.get(plan.kind)
    with output_folder(out, marker=REPRODUCTION_FILE, overwrite=overwrite) as folder:
        begun = {
            "plan": plan.to_json(),
            "layout": layout,
            "run": None if run is None else _hash_of(run),
            "fold_runs": [_hash_of(fold_run) for fold_run in fold_runs],
        }
        if data is not None:
            dataset = read_dataset(data, layout)
            begun["data"] = fingerprint(dataset, content_hashes(dataset))
        with _unfinished(work, out, begun, resume=resume, overwrite=overwrite):
            own = run or work / "run"
            of_folds = tuple(fold_runs) or tuple(
                work / "fold-runs" / f"fold-{number}" for number in range(1, plan.folds + 1)
            )
            shared = _Work(
                plan, data or work / "data", layout, work, own, of_folds, device, command, bar, say
            )
            steps = _steps(shared, train_first=run is None)
            for number, step in enumerate(steps, start=1):
                if not step.made.is_file():
                    step.work(f"{number}/{len(steps)} {step.words}")
            return assemble(
                folder,
                work,
                run=own,
                fold_runs=of_folds,
                data=shared.data,
                layout=layout,
                plan=plan.to_json(),
                command=command,
                title=out.name,
            )


def _check(plan: Plan, data: Path | None, fold_runs: Sequence[Path]) -> None:
    if plan.kind not in get_args(Kind):
        raise SettingsError(f"{plan.kind} is unknown; choose from {', '.join(get_args(Kind))}")
    if (plan.kind == "synthetic") != (data is None):
        wanted = "makes its own data; leave DATA out" if data is not None else "needs DATA, its folder"
        raise SettingsError(f"ltcam reproduce {plan.kind} {wanted}")
    if plan.folds == 1 or plan.folds < 0:
        raise SettingsError(f"--folds {plan.folds}: give 2 or more, or 0 for none")
    if fold_runs and plan.folds:
        raise SettingsError("--folds trains runs, --fold-run names trained ones; give one of them")
    if not 0 <= plan.percentile <= 100:
        raise SettingsError(f"--percentile {plan.percentile:g}: must be 0 to 100")


def _hash_of(run: Path) -> str:
    """A run by its settings and weights."""
    read_run(run)
    return file_sha256(run / RUN_FILE) + file_sha256(run / WEIGHTS_FILE)


@contextmanager
def _unfinished(
    work: Path, out: Path, begun: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[None]:
    """The work folder while steps are done; gone when the block ends well, kept with what is finished when not.

    Raises:
        OutputError: unfinished work, and neither `resume` nor `overwrite` is said.
        RunError: with `resume`: work begun with other settings.
    """
    settings = work / _SETTINGS_FILE
    if settings.is_file() and not resume and not overwrite:
        raise OutputError(
            f"{out}: an unfinished reproduction is kept for it; go on with --resume, or start anew with --overwrite"
        )
    if resume and settings.is_file():
        _check_same(settings, begun)
    else:
        shutil.rmtree(work, ignore_errors=True)
        write_file(settings, json.dumps(begun, indent=2, allow_nan=False) + "\n")
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("what is finished is kept, go on with --resume") from interrupt
    finally:
        if {path.name for path in work.iterdir()} <= {_SETTINGS_FILE}:
            shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)


def _check_same(file: Path, wanted: Mapping[str, Any]) -> None:
    """Work that goes on must be the work that was begun."""
    try:
        begun = json.loads(file.read_text(encoding="utf-8"))
        pairs = [({**begun, **begun["plan"]}, {**wanted, **wanted["plan"]})]
        pairs.append((begun["plan"]["training"], wanted["plan"]["training"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"--resume: {file} is damaged; start anew with --overwrite") from error
    nested = {"plan", "training"}
    other = [
        name for had, has in pairs for name in sorted({*had, *has} - nested) if had.get(name) != has.get(name)
    ]
    if other:
        raise RunError(
            f"--resume: the reproduction in {file.parent} was begun with other settings ({', '.join(other)}); give "
            "the same ones, or start anew with --overwrite"
        )


# ---------------------------------------------------------------------------------------- steps


def _steps(work: _Work, *, train_first: bool) -> list[_Step]:
    plan, folder = work.plan, work.folder
    found = []
    if plan.kind == "synthetic":
        found.append(_Step("drawing the data", work.data / SYNTH_FILE, lambda words: _draw(work, words)))
    if train_first:
        found.append(_Step("training", work.run / RUN_FILE, lambda words: _train(work, words)))
    found.append(
        _Step(
            "comparing methods",
            folder / "compare" / COMPARE_FILE,
            lambda words: _compare(work, work.run, folder / "compare", words, probing=plan.probing),
        )
    )
    if plan.tuning:
        found.append(_Step("tuning delta", folder / "tune" / TUNE_FILE, lambda words: _tune(work, words)))
    if plan.questions:
        out = folder / "questions"
        found.append(
            _Step("open questions", out / QUESTIONS_FILE, lambda words: _ask(work, [work.run], out, words))
        )
    found.append(
        _Step("drawing figures", folder / "figures" / FIGURES_FILE, lambda words: _figures(work, words))
    )
    for number in range(1, len(work.fold_runs) + 1):
        place = folder / "folds" / str(number)
        words = f"fold {number} of {len(work.fold_runs)}"
        found.append(_Step(words, place / "compare" / COMPARE_FILE, _fold(work, number, place)))
    if plan.questions and work.fold_runs:
        out_of_folds = folder / "questions-folds"
        found.append(
            _Step(
                "open questions, over folds",
                out_of_folds / QUESTIONS_FILE,
                lambda words: _ask(work, work.fold_runs, out_of_folds, words),
            )
        )
    return found


def _draw(work: _Work, words: str) -> None:
    wanted = work.plan.synthetic
    with work.bar(words) as advance:
        synthesise(
            work.data,
            surfaces=wanted.surfaces,
            images_per_surface=wanted.images,
            size=wanted.size,
            seed=work.plan.training.seed,
            progress=advance,
        )


def _train(work: _Work, words: str) -> None:
    _train_on(work, read_dataset(work.data, work.layout), work.run, words)


def _train_on(work: _Work, dataset: Dataset, run: Path, words: str) -> None:
    """Train as `ltcam train` does, into `run`; goes on at the next epoch with what an earlier try left."""
    checkpoints = run.with_name(f"{run.name}.training")
    with _worth_keeping(checkpoints), output_folder(run, marker=RUN_FILE) as folder:
        with work.bar(words) as advance:
            listener = Listener(
                say=work.say,
                step=lambda epoch, epochs, step, steps: advance(epoch * steps + step, epochs * steps),
            )
            trained = train(
                dataset,
                work.plan.training,
                checkpoints,
                default_cam,
                listener=listener,
                device=choose_device(work.device).type,
                command=work.command,
            )
        with work.bar(f"{words}: sharpening") as advance:
            trained = with_sharpening(trained, device=work.device, progress=advance)
        write_trained(trained, folder, title=f"{work.plan.kind}: {run.name}")
    shutil.rmtree(checkpoints, ignore_errors=True)


@contextmanager
def _worth_keeping(checkpoints: Path) -> Iterator[None]:
    """A training that fails before its first epoch is over leaves nothing to go on from."""
    try:
        yield
    except BaseException:
        if not (checkpoints / LAST).is_file():
            shutil.rmtree(checkpoints, ignore_errors=True)
        raise


def _compare(work: _Work, run: Path, out: Path, words: str, *, probing: bool) -> None:
    plan = work.plan
    with work.bar(words) as advance:
        compare_run(
            run,
            work.data,
            out,
            layout=work.layout,
            percentile=plan.percentile,
            probing=probing,
            probing_bfloat16=plan.probing_bfloat16,
            positive_activations=plan.positive_activations,
            device=work.device,
            bootstrap=plan.bootstrap,
            batch_size=1 if probing else 4,  # an image takes minutes then, and is what a kill loses
            resume=True,
            command=work.command,
            progress=advance,
        )


def _tune(work: _Work, words: str) -> None:
    plan = work.plan
    with work.bar(words) as advance:
        tune_run(
            work.run,
            work.data,
            work.folder / "tune",
            layout=work.layout,
            maps=DeltaMaps(positive_activations=plan.positive_activations),
            device=work.device,
            bootstrap=plan.bootstrap,
            resume=True,
            command=work.command,
            progress=advance,
        )


def _ask(work: _Work, runs: Sequence[Path], out: Path, words: str) -> None:
    with work.bar(words) as advance:
        ask_runs(
            runs,
            work.data,
            out,
            layout=work.layout,
            positive_activations=work.plan.positive_activations,
            device=work.device,
            bootstrap=work.plan.bootstrap,
            command=work.command,
            progress=advance,
        )


def _figures(work: _Work, words: str) -> None:
    plan = work.plan
    with work.bar(words) as advance:
        make_figures(
            work.run,
            work.data,
            work.folder / "figures",
            layout=work.layout,
            percentile=plan.percentile,
            probing=plan.probing,
            probing_bfloat16=plan.probing_bfloat16,
            positive_activations=plan.positive_activations,
            images=plan.rows,
            device=work.device,
            kept=work.folder / "figure-maps",
            progress=advance,
        )


def _fold(work: _Work, number: int, place: Path) -> Callable[[str], None]:
    """Training and comparison on one fold of groups; sides that the data set names play no part."""

    def do(words: str) -> None:
        run = work.fold_runs[number - 1]
        if not (run / RUN_FILE).is_file():
            dataset = read_dataset(work.data, work.layout)
            dataset = merge_groups(dataset, find_duplicates(dataset.samples))
            fold = kfold(dataset, work.plan.folds, seed=work.plan.training.seed)[number - 1]
            _train_on(work, fold, run, f"{words}: training")
        _compare(work, run, place / "compare", f"{words}: comparing", probing=False)

    return do
