"""Backbones, initial weights, and the classifier made of them."""
