"""The ONNX importer: a file's network as a graph of the closed list of operations."""
