"""Files of labels that no layout reads, and what to do with them: for messages only."""

from __future__ import annotations

from pathlib import PurePosixPath

from ltcam.data.layouts.annotated import mentions, refuse_damaged
from ltcam.data.layouts.tree import Tree
from ltcam_runtime.errors import DataError

_LIST = "write a CSV list with the columns path,label."
_LOOKED_AT = 3  # files of an ending
_KINDS = (
    (".json", ("annotation_id", "lead_time"), "JSON-MIN of Label Studio", "export it as JSON"),
    (
        ".json",
        ("shape_attributes", "region_attributes"),
        "a project of VGG Image Annotator",
        "export it as COCO",
    ),
    (".json", ('"coordinates"', '"annotations"'), "CreateML", "export it as COCO"),
    (".json", ("classTitle", "objects"), "Supervisely", "export it as COCO"),
    (".xml", ("<track ",), "tracks of CVAT for video", 'export it as "CVAT for images 1.1"'),
)


def unread_labels(tree: Tree) -> str:
    """What a file of labels is that no layout reads, and what to do; "" where there is none."""
    for suffix in (".json", ".xml"):
        files = [path for path in tree.files if path.suffix.lower() == suffix]
        for path in files[:_LOOKED_AT]:
            for ending, words, what, advice in _KINDS:
                if ending == suffix and mentions(tree.root / path, *words):
                    return f"{path} is {what}, which is not read: {advice}, or {_LIST}"
        named = next((path for path in files[:_LOOKED_AT] if _names_an_image(tree, path)), None)
        if named is not None:
            try:
                refuse_damaged([tree.root / named])
            except DataError as error:
                return str(error)
            return f"{named} names images, but is of no kind that is read: {_LIST}"
    return ""


def _names_an_image(tree: Tree, path: PurePosixPath) -> bool:
    return any(mentions(tree.root / path, image.name) for image in tree.images[:_LOOKED_AT])
