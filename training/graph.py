"""One step of a model as a graph: for its file, and to step many streams quickly while training.

Axes: L lanes, T readings, C channels, S numbers of state, W witnesses.
"""

import logging
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # type: ignore[import-untyped]
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from detector.artifact import OPSET
from detector.model import OUTPUTS
from detector.records import Bools
from training.model import Autoencoder

EVIDENCE = "evidence"  # an output that a file does not have
_MODEL = "model."  # what torch puts before the names of the model's numbers

_TEMPLATES: dict[str, onnx.ModelProto] = {}


def graph_of(model: Autoencoder) -> bytes:
    """Return the graph of one step, with a free B and nothing of this machine in it."""
    proto = _with_numbers(model)
    graph = proto.graph
    kept = [node for node in graph.node if EVIDENCE not in node.output]
    del graph.node[:], graph.output[-1]
    graph.node.extend(kept)
    onnx.checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


class Weigher:
    """Steps lanes through a model as it is now, for their evidence.

    It gives what `Autoencoder.weigh_all` does, to rounding, several times as fast: torch spends
    its time between its small operations, onnxruntime in them.
    """

    def __init__(self, model: Autoencoder) -> None:
        """Take a model; what is set in it later is not seen."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = _with_numbers(model).SerializeToString()
        self._session: Any = ort.InferenceSession(content, options, ["CPUExecutionProvider"])
        self._width = model.state_width
        self._state = np.zeros((0, self._width), np.float32)

    def __call__(self, x: Tensor, fresh: Bools) -> Tensor:
        """Return the evidence of the next readings of all lanes.

        Args:
            x: [L, T, C] engineering units, NaN where missing.
            fresh: [L] the lane begins a stream: its state starts at zero.

        Returns:
            [L, T, W] in the order of `Evidence`.
        """
        if len(self._state) != len(fresh):
            self._state = np.zeros((len(fresh), self._width), np.float32)
        self._state = np.where(fresh[:, np.newaxis], np.float32(0), self._state)
        told = []
        for reading in np.ascontiguousarray(x.numpy().transpose(1, 0, 2)):
            inputs = {"x": reading, "state": self._state}
            evidence, self._state = self._session.run([EVIDENCE, OUTPUTS[-1]], inputs)
            told.append(evidence)
        return torch.from_numpy(np.stack(told, 1))


class _Telling(nn.Module):
    """A step of a model that tells its evidence too."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, ...]:
        said, weighed = self.model.step(x, state)
        return (*said, torch.cat(weighed, 1))


def _with_numbers(model: Autoencoder) -> onnx.ModelProto:
    """Return a graph with the numbers of a model in it.

    Models of one architecture differ in their numbers only: the graph is traced once, and takes
    the numbers of each. Whether that holds is proven with every file, against torch.
    """
    numbers = {f"{_MODEL}{name}": value for name, value in model.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in numbers.items()}
    key = f"{model}{shapes}"
    if key not in _TEMPLATES:
        _TEMPLATES[key] = _traced(model)
    proto = onnx.ModelProto()
    proto.CopyFrom(_TEMPLATES[key])
    for part in proto.graph.initializer:
        if part.name in numbers:
            part.CopyFrom(numpy_helper.from_array(numbers[part.name].cpu().numpy(), part.name))
    return proto


def _traced(model: Autoencoder) -> onnx.ModelProto:
    device = model.mean.device
    example = (
        torch.zeros(3, model.channels, device=device),
        torch.zeros(3, model.state_width, device=device),
    )
    free = {0: torch.export.Dim("B")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own insides
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Telling(model).eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=["x", "state"],
            output_names=[*OUTPUTS, EVIDENCE],
            dynamic_shapes=(free, free),
            optimize=False,  # onnxruntime does it again, and here numbers must keep their names
            verbose=False,
        )
    assert program is not None  # noqa: S101 - with dynamo it returns one
    proto = program.model_proto
    # The exporter notes source files and lines; the graph should say what it computes only.
    parts = [proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions]
    for part in [*parts, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return proto
