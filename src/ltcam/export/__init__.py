"""A run's whole network, gradients and maps included, as one graph that needs no torch.

network and maps -> traces -> ONNX nodes and their derivatives -> part.ltcam.onnx
                  (tracing)  (operators, derivatives)            (pipeline)
"""
