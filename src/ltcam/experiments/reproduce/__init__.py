"""The experiments of the paper in one go: the steps of `ltcam reproduce`, its figures, and its page."""
