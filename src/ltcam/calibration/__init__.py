"""What is chosen after the training of a network, from image labels: verdict, scores, and what is drawn of each kind.

thresholds   where to cut scores, as numbers
verdict      the threshold of a network's verdict, on images that were held back
scores       scores that read as probabilities, whose threshold reads 0.5
judge        how good a mask is, by asking the classifier about the image without it and an OK image with it
kinds        map, contrast and cut of every kind of defect
maps         the map that a new run starts with, and the paper's
"""
