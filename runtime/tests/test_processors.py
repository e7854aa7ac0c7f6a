import os

import pytest

from ltcam_runtime import processors
from ltcam_runtime.processors import allowed_processors


def test_processors_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for quota, allowed in ((float("inf"), 8), (2.5, 3), (0.4, 1)):
        monkeypatch.setattr(processors, "_quota", lambda quota=quota: quota)
        assert allowed_processors() == allowed
