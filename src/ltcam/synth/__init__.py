"""A synthetic inspection set: believable surfaces, defects from plain to barely visible, exact masks.

    fields.py     random fields, sub-pixel drawing
    lots.py       what the pieces of one lot share
    materials.py  brushed metal, cast metal, woven fabric, glazed ceramic; ground tile, concrete, rolled steel, paint
    marks.py      uneven light, dust and other marks of a sound part
    surfaces.py   a sound piece, and the camera
    defects.py    scratch, crack, pit, stain, inclusion; break, fray, uneven, patch
    blend.py      defects laid on a surface at a measured contrast; masks
    write.py      the data set on disk

A surface is light before the camera; a defect changes this light (and, where it has walls, by the direction
of the lot's lamp); only then come lens and sensor. So nothing looks pasted, and the pictures with and without
a defect differ nowhere else.
"""

from ltcam.synth.blend import ALPHA, CLEAR, FAINT, Defect, contrast_to_noise
from ltcam.synth.defects import DEFECTS
from ltcam.synth.surfaces import MIXED, SURFACES
from ltcam.synth.write import Drawing, Piece, SynthesisSettings, draw_piece, plan, synthesise

__all__ = [
    "ALPHA",
    "CLEAR",
    "DEFECTS",
    "FAINT",
    "MIXED",
    "SURFACES",
    "Defect",
    "Drawing",
    "Piece",
    "SynthesisSettings",
    "contrast_to_noise",
    "draw_piece",
    "plan",
    "synthesise",
]
