from types import SimpleNamespace
from typing import Any

import pytest

from ltcam_runtime import graph_networks
from ltcam_runtime.graph_networks import ENGINE_LOADERS, EngineSettings


@pytest.mark.parametrize(("asked", "threads"), [(None, 3), (5, 5)])
def test_onnxruntime_takes_the_threads_that_the_process_may_use(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, threads: int
) -> None:
    made: list[Any] = []
    runtime = SimpleNamespace(
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
        InferenceSession=lambda _model, options, **_: made.append(options),
        get_available_providers=list,
    )
    monkeypatch.setattr(graph_networks, "import_onnxruntime", lambda: runtime)
    monkeypatch.setattr(graph_networks, "with_outputs", lambda model, _: model)
    monkeypatch.setattr("ltcam_runtime.processors._quota", lambda: 2.5)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    ENGINE_LOADERS["onnxruntime"](b"", [], EngineSettings(threads=asked))
    assert [options.intra_op_num_threads for options in made] == [threads]
