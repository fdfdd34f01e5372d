"""Where networks come from: modules, exported programs, ONNX files, factories."""
