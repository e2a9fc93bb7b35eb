"""A denoiser's network as ONNX, for runtimes other than PyTorch: the browser's, among others.

The graph is the network alone: `x_t` (B, C, H, W), `time` (B,) and `label` (B,) to `prediction` (B, C, H, W), for any
B. As in PyTorch, `time` is 1000 t / T, `label` may be the null label, and the prediction is one of the denoiser's
target; the model's description, which says which target and schedule, is kept under the metadata key `description`, as
JSON.
"""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.export import Dim

from diffusion.denoiser import EMBEDDED_TIMES, Denoiser
from diffusion.files import whole_file
from diffusion.tensors import DESCRIPTION, Description

OPSET = 18
INPUTS, OUTPUT = ("x_t", "time", "label"), "prediction"


def write_onnx(denoiser: Denoiser, description: Description, path: Path, half: bool = False) -> None:
    """Write the network of a denoiser with its description, as `load_denoiser` returns both, as ONNX of opset `OPSET`.

    With `half` the weights are rounded to fp16 and kept in half as many bytes; a runtime widens them when it loads the
    model, and the arithmetic stays fp32. Raises OSError as `whole_file` does.
    """
    model = _graph(_rounded(denoiser.net) if half else denoiser.net, _example(denoiser, description))
    helper.set_model_props(model, {DESCRIPTION: json.dumps(description, sort_keys=True)})
    if half:
        _narrow(model)
    with whole_file(path) as unfinished:
        unfinished.write_bytes(model.SerializeToString())


def _example(denoiser: Denoiser, description: Description) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs of the network, for two images: a batch of one would be taken for a constant."""
    net, device = description["net"], denoiser.device
    x_t = torch.zeros(2, net["image_channels"], net["image_size"], net["image_size"], device=device)
    time = torch.tensor([1.0, EMBEDDED_TIMES], device=device)
    return x_t, time, torch.tensor([0, denoiser.null], device=device)


def _graph(net: nn.Module, example: tuple[Tensor, Tensor, Tensor]) -> ModelProto:
    """The network as PyTorch exports it, without the notes on where in the code each operation came from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's about itself
        program = torch.onnx.export(
            net,
            example,
            input_names=INPUTS,
            output_names=[OUTPUT],
            dynamic_shapes=[{0: Dim("batch")} for _ in INPUTS],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model: ModelProto = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _rounded(net: nn.Module) -> nn.Module:
    """A copy of a network with its weights rounded to fp16."""
    rounded = copy.deepcopy(net)
    rounded.load_state_dict({name: weight.half().float() for name, weight in net.state_dict().items()})
    return rounded


def _narrow(model: ModelProto) -> None:
    """Keep in fp16, with a cast to fp32 in front of the graph, whatever loses nothing by it.

    The weights lose nothing, since they are rounded; the frequencies of the time would, and with them the time.
    """
    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and (value.astype(np.float16) == value).all():
            name, kept = tensor.name, f"{tensor.name}.fp16"
            casts.append(helper.make_node("Cast", [kept], [name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), kept))
    nodes = [*casts, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
