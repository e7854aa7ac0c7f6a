"""`ltcam-run`, which is `python -m ltcam_runtime` too."""

from ltcam_runtime.starting import EndsAtOnce


def main() -> None:
    """Entry point."""
    with EndsAtOnce("ltcam-run"):
        from ltcam_runtime.cli import main as begun  # noqa: PLC0415

        begun()


if __name__ == "__main__":
    main()
