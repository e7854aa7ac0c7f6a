"""Measuring masks, heatmaps, boxes and verdicts against the truth. Arrays and plain values in, numbers out.

    counts, boundary, boxes   one mask against its truth -> small integer counts that add up over images
    curves                    heatmaps against truths -> histograms that add up over images
    images                    verdicts and scores
    bootstrap, binomial       intervals over images; exact ones of shares that were counted
    hits                      whether a heatmap points at the defect
    evaluate                  one record per image
    metrics, summary          numbers with intervals, read by attribute; the content of `metrics.json`
    settings                  what is asked of an evaluation

No model, no file formats, no torch. Whatever is undefined (0/0) is NaN, never 0 or 1.
"""
