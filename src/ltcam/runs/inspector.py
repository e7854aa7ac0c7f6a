"""A run folder and an image in, an `Inspection` out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ltcam.models.classifier import Classifier
from ltcam.runs.folder import check_unchanged, read_classifier, read_run
from ltcam.runs.hardware import choose_device
from ltcam.runs.network import TorchNetwork
from ltcam.runs.run import RUN_FILE, Run
from ltcam_runtime.errors import RunError
from ltcam_runtime.inspector import Inspector as RuntimeInspector
from ltcam_runtime.settings import Overrides


@dataclass(frozen=True, eq=False, repr=False)
class Inspector(RuntimeInspector):
    """A trained run, ready to inspect. Immutable, and usable from several threads.

    Attributes:
        network: the run's classifier or student.
        settings: verdict, and what is drawn of which kind of defect.
    """

    network: TorchNetwork

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto", trust_changed_run: bool = False) -> Inspector:
        """An inspector from a run folder. Nothing in the folder is executed.

        Args:
            folder: as `ltcam train` writes it.
            device: `auto` (a GPU if there is one), `cpu` or `cuda`.
            trust_changed_run: whether settings and weights will do that were changed after the training.

        Raises:
            RunError: the folder cannot be read, or was changed; the message names file and field.
            SettingsError: the device does not exist.
        """
        run = read_run(Path(folder))
        classifier = read_classifier(Path(folder), run)
        file = Path(folder) / RUN_FILE
        known = dict(classifier.named_modules())
        for stage in (*run.stages, *(stage for cam in run.maps.values() for stage in cam.stages)):
            if stage not in known:
                raise RunError(f"{file} names stage {stage!r}, which {run.backbone} does not have")
        found = cls.of(run, classifier, device=choose_device(device))
        try:
            found.network.check_maps()
        except ValueError as error:
            raise RunError(f"{file}: field 'maps': {error}") from error
        if not trust_changed_run:
            check_unchanged(Path(folder))
        return found

    @classmethod
    def of(cls, run: Run, classifier: Classifier, *, device: torch.device) -> Inspector:
        """An inspector from a run and its classifier at hand, which is moved to the device and frozen."""
        return cls(TorchNetwork.of(run, classifier, device), run.inspection)

    @property
    def run(self) -> Run:
        """The run with the settings that are in use."""
        return self.network.run.with_inspection(self.settings)

    def overridden(self, overrides: Overrides) -> Inspector:
        """The same network with other maps, sharpening, mask or verdict.

        Raises:
            SettingsError: a value that cannot be used.
        """
        return Inspector(self.network.overridden(overrides), overrides.apply(self.settings))
