"""An exported file and an image in, an `Inspection` out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ltcam_runtime.errors import SettingsError
from ltcam_runtime.graph_networks import AS_EXPORTED, EngineSettings, GraphNetwork, open_network
from ltcam_runtime.inspector import Inspector as RuntimeInspector
from ltcam_runtime.parity import gate
from ltcam_runtime.part_files import read_part
from ltcam_runtime.predicting import Opened, settings_json, subtitle_of
from ltcam_runtime.settings import Overrides
from ltcam_runtime.trial import try_out


@dataclass(frozen=True, eq=False)
class Inspector(RuntimeInspector):
    """An exported inspector, ready to inspect. Immutable, and usable from several threads.

    Attributes:
        network: the graph.
        settings: verdict, and what is drawn of which kind of defect.
    """

    network: GraphNetwork

    @classmethod
    def load(cls, file: str | Path, *, engine: EngineSettings = AS_EXPORTED, check: bool = True) -> Inspector:
        """An inspector from a file that `ltcam export` wrote.

        Args:
            file: `part.ltcam.onnx`.
            engine: what runs it, and where; default: what the file was made for.
            check: whether it is tried out in a process of its own first, and has to say of its golden images what the
                trained network said.

        Raises:
            RunError: the file cannot be used, or says something else here.
            SettingsError: the engine is not installed, or there is no such device.
        """
        read = read_part(file)
        if check:
            try_out(read, engine)
        found = cls(open_network(read, engine), read.part.inspection)
        if check:
            gate(found, read.part)
        return found

    def overridden(self, overrides: Overrides) -> Inspector:
        """The same graph with other sharpening, mask or verdict settings.

        Raises:
            SettingsError: a value that cannot be used, or a setting of the map, which is fixed in the graph.
        """
        for name, value in overrides.of_map().items():
            raise SettingsError(
                f"`{name}` {value!r}: maps are fixed in an exported file; export the run with it"
            )
        return Inspector(self.network, overrides.apply(self.settings))

    def opened(self, file: str | Path, inputs: Sequence[str]) -> Opened:
        """What results say of it: the same as of its run.

        Args:
            file: that it was loaded from.
            inputs: what is inspected.
        """
        settings = settings_json(Path(file), self.settings, self.network.part.maps)
        return Opened(self, settings, subtitle_of(f"Exported file: {Path(file).name}", inputs))
