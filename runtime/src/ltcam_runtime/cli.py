"""`ltcam-run part.ltcam.onnx IMAGES... --out DIR`: inspection where there is no torch."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ltcam_runtime.errors import LtcamError, in_options
from ltcam_runtime.interrupts import code_of, interruptible
from ltcam_runtime.phrases import said

DONE, SOME_FAILED, NOTHING_DONE = 0, 1, 2
_EVERY = 0.5  # seconds between two lines of progress


def main(arguments: Sequence[str] | None = None) -> None:
    """The command, once it has begun; leaves the process with its exit code."""
    options = _parser().parse_args(arguments)
    try:
        with interruptible():
            code = _run(options)
    except KeyboardInterrupt as interrupt:
        _say("ltcam-run: interrupted; nothing was written")
        code = code_of(interrupt)
    except LtcamError as error:
        _say(f"ltcam-run: {in_options(str(error), vars(options))}")
        code = error.exit_code
    except (MemoryError, OSError) as error:
        _say(f"ltcam-run: {type(error).__name__}: {error}")
        code = NOTHING_DONE
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ltcam-run",
        description="Inspect images with a file that `ltcam export` wrote: verdict, score, mask and regions of each.",
        epilog="Exit codes: 0 done; 1 done, but some images failed; 2 nothing done; 130, 143 interrupted.",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="part.ltcam.onnx or part.ltcam.zip")
    add("inputs", nargs="+", metavar="INPUT", help="image files, folders or patterns")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write the results to")
    add(
        "--threshold",
        help="of the mask: otsu, or a share of the heatmap's range, 0 to 1; default: the file's",
    )
    add("--sharpen", help="none, dark, bright, either, both or colour; default: the file's")
    add("--verdict-threshold", type=float, help="score from which an image is a defect; default: the file's")
    add("--unsure-margin", type=float, help="scores this close to the threshold want a person's look")
    add(
        "--zoom",
        type=int,
        help="cut-outs, at most, of larger images to look at in full resolution; default: the file's",
    )
    add(
        "--engine",
        choices=["onnxruntime", "openvino"],
        help="what runs the graph; default: what it was made for",
    )
    add("--device", default="auto", help="cpu or cuda (onnxruntime), cpu, gpu or npu (openvino)")
    add("--threads", type=int, help="of the network; default: all cores")
    add("--batch-size", type=int, default=4, help="images per pass of the network (default: 4)")
    add("--always-maps", action="store_true", help="heatmaps of images that are judged OK, too: slower")
    add("--px-per-mm", type=float, help="pixels along a millimetre of the part: sizes in millimetres too")
    add(
        "--save",
        default="masks,overlays",
        metavar="KINDS",
        help="what to write beside tables and page, or none",
    )
    add("--no-check", action="store_true", help="do not try the file out, nor ask for its golden images")
    add("--overwrite", action="store_true", help="replace existing results")
    add("--json", action="store_true", help="print a summary as JSON")
    return parser


def _run(options: argparse.Namespace) -> int:
    from ltcam_runtime.exported import Inspector  # noqa: PLC0415  # the help page needs none of it
    from ltcam_runtime.graph_networks import EngineSettings  # noqa: PLC0415
    from ltcam_runtime.listing import list_images  # noqa: PLC0415
    from ltcam_runtime.predicting import (  # noqa: PLC0415
        Opened,
        PredictionRequest,
        Writing,
        kinds_to_save,
        write_predictions,
    )
    from ltcam_runtime.settings import Overrides  # noqa: PLC0415

    overrides = Overrides(
        threshold=options.threshold,
        sharpen=options.sharpen,
        verdict_threshold=options.verdict_threshold,
        unsure_margin=options.unsure_margin,
        zoom=options.zoom,
    )
    wanted = PredictionRequest(
        Writing(kinds_to_save(options.save), options.px_per_mm),
        batch_size=options.batch_size,
        cascade=not options.always_maps,
        overwrite=options.overwrite,
    )
    engine = EngineSettings(options.engine, options.device, options.threads)

    def load() -> Opened:
        if options.no_check:
            _say("not checked: whether this machine gives the results of the training is not known")
        inspector = Inspector.load(options.file, engine=engine, check=not options.no_check)
        return inspector.overridden(overrides).opened(options.file, options.inputs)

    listing = list_images(options.inputs, out=options.out, by_name=True)
    summary = write_predictions(listing, options.out, load, wanted, _progress())
    for sentence in summary.sentences():
        _say(in_options(sentence, vars(options)))
    if options.json:
        sys.stdout.write(json.dumps(summary.to_json(), indent=2, allow_nan=False) + "\n")
    if not summary.inspected:
        return NOTHING_DONE
    return SOME_FAILED if summary.failed else DONE


def _progress() -> Callable[[int, int], None]:
    """One line that is written over, with the time left, on a terminal; nothing elsewhere."""
    started = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if not sys.stderr.isatty() or (now - last < _EVERY and done < total):
            return
        last = now
        left = round((now - started) / done * (total - done))
        sys.stderr.write(
            f"\r{done}/{total} images, {left // 60}:{left % 60:02} left " + ("\n" if done == total else "")
        )
        sys.stderr.flush()

    return show


def _say(message: str) -> None:
    """A sentence for people."""
    sys.stderr.write(said(message) + "\n")
