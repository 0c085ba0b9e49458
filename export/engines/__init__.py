"""TensorRT engines: built on the machine that runs them, each with a record of what it is."""
