"""`python -m ltcam.cli` is the same as `ltcam`."""

from ltcam.cli.main import run

run()
