"""The simulated TensorRT and CUDA are as strict as the real ones, so that what passes on them means something."""


def test_the_simulated_tensorrt_names_its_version():
    import tensorrt as trt

    assert trt.__version__.split(".")[0] in {"10", "11"}
