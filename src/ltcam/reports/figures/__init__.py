"""The paper's figures: arrays and values in, a matplotlib figure out; `style.save_figure` writes them as files."""
