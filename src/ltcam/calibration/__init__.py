"""What is chosen after the training of a network, from image labels: threshold, verdict, sharpening; and the maps.

thresholds   where to cut scores, as numbers
verdict      the threshold of a network's verdict, on images that were held back
sharpening   which contrast sharpens the masks
maps         the map that a new run starts with, and the paper's
"""
