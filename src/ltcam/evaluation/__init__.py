"""Measuring masks, heatmaps, boxes and verdicts against the truth. Arrays and plain values in, numbers out.

    counts, boundary, boxes   one mask against its truth -> small integer counts that add up over images
    curves                    heatmaps against truths -> histograms that add up over images
    images, bootstrap         verdicts and scores; intervals over images
    evaluate                  one record per image, and their summary: the content of `metrics.json`

No model, no file formats, no torch. Whatever is undefined (0/0) is NaN, never 0 or 1.
"""
