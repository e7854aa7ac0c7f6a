"""The run folder, and the network that stands in it.

run        the contents of run.json, without torch
folder     reading and writing a run folder
network    TorchNetwork: the only place that normalises, picks the target, chooses device and arithmetic
inspector  Inspector: a run, ready to inspect
"""
