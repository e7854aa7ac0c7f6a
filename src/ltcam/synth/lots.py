"""What the pieces of one lot share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lot:
    """The light, the tone, the coarseness of the texture and the camera of one lot.

    Attributes:
        surface: name of the material.
        tint: RGB, mean 1.
        tone: mean brightness, 0 to 1.
        light: direction towards the light in the image plane, radians.
        slope: how much brighter the lit side is than the far one, in log units over the image.
        scale: size of the texture relative to the ordinary one.
        contrast: strength of the texture relative to the ordinary one.
        grain: direction of the texture, radians.
        variant: 0 to 2; kind of weave, of highlight, of glaze.
        sharpness: the lens' blur, standard deviation in pixels.
        noise: the sensor's noise at white, standard deviation, 1.0 being white.
    """

    surface: str
    tint: tuple[float, float, float]
    tone: float
    light: float
    slope: float
    scale: float
    contrast: float
    grain: float
    variant: int
    sharpness: float
    noise: float
