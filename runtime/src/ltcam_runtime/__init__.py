"""The torch-free ground floor of ltcam: images, heatmaps to masks, regions, verdicts, results."""
