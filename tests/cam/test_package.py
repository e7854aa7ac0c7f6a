"""The engine stands alone."""

from __future__ import annotations

import subprocess
import sys

import ltcam.cam


def test_importing_the_engine_imports_nothing_else_of_ours():
    code = (
        "import sys, ltcam.cam;"
        "ours = {n for n in sys.modules if n.split('.')[0] in ('ltcam', 'ltcam_runtime')};"
        "print(sorted(n for n in ours if n != 'ltcam' and not n.startswith('ltcam.cam')));"
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'torchvision', 'timm', 'cv2', 'PIL', 'pydantic'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_everything_offered_is_there():
    assert sorted(ltcam.cam.__all__) == sorted(set(ltcam.cam.__all__))
    for name in ltcam.cam.__all__:
        assert getattr(ltcam.cam, name).__doc__
