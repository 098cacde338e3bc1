"""Makes a peers' model of a CLIP or a SigLIP: an ONNX graph a tower, in f32 and quantised to 8 bits.

    python benches/models.py CHECKPOINT OUT

CHECKPOINT is a directory that `examples/seeded_model.rs` writes; OUT becomes a model directory in the layout of the
Hub that transformers.js reads, with `onnx/vision_model_quantized.onnx` and `onnx/text_model_quantized.onnx`.

The weights and the arithmetic are those of transformers' `CLIPModel` and `SiglipModel`; the nodes are those that its
exports have. Every linear layer is a MatMul, with its bias in an Add, because onnxruntime quantises
a MatMul and leaves a Gemm in f32, in which exporters write a layer whose input has two dimensions.
"""

import json
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file

# The first with a Gelu of its own, and the format of files that came with it.
OPSET, IR_VERSION = 20, 9


class Graph:
    """Nodes in the order they run, each with one output, which has the node's name."""

    def __init__(self, tensors: dict[str, np.ndarray], epsilon: float, gelu: str):
        """`epsilon` is that of the norms, `gelu` the Gelu's attribute `approximate`."""
        self.tensors, self.epsilon, self.gelu = tensors, epsilon, gelu
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.tensors[name])

    def integers(self, *values: int) -> str:
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def linear(self, name: str, x: str) -> str:
        """`x W^T + b`, or without `b` where the layer has none."""
        x = self.node("MatMul", x, self.constant(f"{name}.weight", self.tensors[f"{name}.weight"].T))
        bias = f"{name}.bias"
        return self.node("Add", x, self.weight(bias)) if bias in self.tensors else x

    def norm(self, name: str, x: str) -> str:
        weights = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, *weights, axis=-1, epsilon=self.epsilon)

    def attention(self, name: str, x: str, to: str, heads: int, mask: str | None = None) -> str:
        """Of `x` to `to`, each [batch, tokens, width]; `mask`, [tokens, tokens], is added to the scores."""
        width = len(self.tensors[f"{name}.q_proj.bias"])
        split = self.integers(0, -1, heads, width // heads)
        part = lambda part, x, order: self.node(
            "Transpose", self.node("Reshape", self.linear(f"{name}.{part}", x), split), perm=order
        )
        scale = self.constant(f"{name}.scale", np.array((width // heads) ** -0.5, np.float32))
        queries = self.node("Mul", part("q_proj", x, [0, 2, 1, 3]), scale)
        scores = self.node("MatMul", queries, part("k_proj", to, [0, 2, 3, 1]))
        if mask:
            scores = self.node("Add", scores, mask)
        mixed = self.node("MatMul", self.node("Softmax", scores, axis=-1), part("v_proj", to, [0, 2, 1, 3]))
        joined = self.node("Reshape", self.node("Transpose", mixed, perm=[0, 2, 1, 3]), self.integers(0, -1, width))
        return self.linear(f"{name}.out_proj", joined)

    def layers(self, tower: str, x: str, config: dict, mask: str | None = None) -> str:
        for layer in range(config["num_hidden_layers"]):
            name = f"{tower}.encoder.layers.{layer}"
            normed = self.norm(f"{name}.layer_norm1", x)
            attended = self.attention(f"{name}.self_attn", normed, normed, config["num_attention_heads"], mask)
            x = self.node("Add", x, attended)
            x = self.mlp(f"{name}.mlp", f"{name}.layer_norm2", x)
        return x

    def mlp(self, name: str, norm: str, x: str) -> str:
        wide = self.node("Gelu", self.linear(f"{name}.fc1", self.norm(norm, x)), approximate=self.gelu)
        return self.node("Add", x, self.linear(f"{name}.fc2", wide))

    def patches(self, embeddings: str, width: int, patch: int) -> str:
        """[batch, patches, width] of the input `pixel_values`."""
        names = [f"{embeddings}.patch_embedding.{part}" for part in ("weight", "bias")]
        weights = [self.weight(name) for name in names if name in self.tensors]
        patches = self.node("Conv", "pixel_values", *weights, kernel_shape=[patch, patch], strides=[patch, patch])
        patches = self.node("Reshape", patches, self.integers(0, width, -1))
        return self.node("Transpose", patches, perm=[0, 2, 1])

    def each_input(self, token: str, width: int) -> str:
        """[batch, 1, width]: a token of its own for each image."""
        batch = self.node("Shape", "pixel_values", start=0, end=1)
        return self.node("Expand", self.weight(token), self.node("Concat", batch, self.integers(1, width), axis=0))

    def token(self, x: str, index: int) -> str:
        return self.node("Gather", x, self.constant(f"token_{index}", np.array(index, np.int64)), axis=1)

    def model(self, input: onnx.ValueInfoProto, output: str, last: str, size: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [last], [output], output))
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", size])]
        graph = helper.make_graph(self.nodes, "clip", [input], outputs, list(self.constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        # Otherwise this package's newest, which a runtime may not read yet.
        model.ir_version = IR_VERSION
        return model


def image_model(graph: Graph, edge: int, last: str, size: int) -> onnx.ModelProto:
    """`pixel_values` [batch, 3, S, S] f32 -> `image_embeds` [batch, D]."""
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 3, edge, edge])
    return graph.model(pixels, "image_embeds", last, size)


def text_model(graph: Graph, last: str, size: int) -> onnx.ModelProto:
    """`input_ids` [batch, tokens] i64 -> `text_embeds` [batch, D]."""
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    return graph.model(ids, "text_embeds", last, size)


def clip_vision(tensors: dict[str, np.ndarray], config: dict) -> onnx.ModelProto:
    graph, tower = Graph(tensors, 1e-5, "none"), "vision_model"
    sizes = config["vision_config"]
    width, embeddings = sizes["hidden_size"], f"{tower}.embeddings"
    patches = graph.patches(embeddings, width, sizes["patch_size"])
    x = graph.node("Concat", graph.each_input(f"{embeddings}.class_embedding", width), patches, axis=1)
    x = graph.node("Add", x, graph.weight(f"{embeddings}.position_embedding.weight"))
    x = graph.layers(tower, graph.norm(f"{tower}.pre_layrnorm", x), sizes)
    pooled = graph.norm(f"{tower}.post_layernorm", graph.token(x, 0))
    embeds = graph.linear("visual_projection", pooled)
    return image_model(graph, sizes["image_size"], embeds, config["projection_dim"])


def clip_text(tensors: dict[str, np.ndarray], config: dict) -> onnx.ModelProto:
    graph, tower = Graph(tensors, 1e-5, "none"), "text_model"
    sizes = config["text_config"]
    context = sizes["max_position_embeddings"]
    embeddings = f"{tower}.embeddings"
    x = graph.node("Gather", graph.weight(f"{embeddings}.token_embedding.weight"), "input_ids")
    length = graph.node("Shape", "input_ids", start=1, end=2)
    zero, one = graph.integers(0), graph.integers(1)
    positions = graph.weight(f"{embeddings}.position_embedding.weight")
    x = graph.node("Add", x, graph.node("Slice", positions, zero, length, zero))
    causal = np.triu(np.full((context, context), np.finfo(np.float32).min), 1).astype(np.float32)
    mask = graph.node("Slice", graph.constant("causal_mask", causal), zero, length, zero)
    mask = graph.node("Slice", mask, zero, length, one)
    x = graph.norm(f"{tower}.final_layer_norm", graph.layers(tower, x, sizes, mask))
    # The first end token, which has the largest id; padding repeats it. ArgMax takes no i64.
    narrow = graph.node("Cast", "input_ids", to=TensorProto.INT32)
    pooled = graph.node("GatherND", x, graph.node("ArgMax", narrow, axis=1, keepdims=1), batch_dims=1)
    return text_model(graph, graph.linear("text_projection", pooled), config["projection_dim"])


def siglip_vision(tensors: dict[str, np.ndarray], config: dict) -> onnx.ModelProto:
    graph, tower = Graph(tensors, 1e-6, "tanh"), "vision_model"
    sizes = config["vision_config"]
    width, embeddings, head = sizes["hidden_size"], f"{tower}.embeddings", f"{tower}.head"
    patches = graph.patches(embeddings, width, sizes["patch_size"])
    x = graph.node("Add", patches, graph.weight(f"{embeddings}.position_embedding.weight"))
    x = graph.norm(f"{tower}.post_layernorm", graph.layers(tower, x, sizes))
    # torch stacks the three projections of a query that is no token of the image.
    for part in ("weight", "bias"):
        stacked = np.split(tensors[f"{head}.attention.in_proj_{part}"], 3)
        graph.tensors |= {f"{head}.attention.{name}_proj.{part}": one for name, one in zip("qkv", stacked)}
    probe = graph.each_input(f"{head}.probe", width)
    pooled = graph.attention(f"{head}.attention", probe, x, sizes["num_attention_heads"])
    pooled = graph.mlp(f"{head}.mlp", f"{head}.layernorm", pooled)
    return image_model(graph, sizes["image_size"], graph.token(pooled, 0), width)


def siglip_text(tensors: dict[str, np.ndarray], config: dict) -> onnx.ModelProto:
    """Its texts are always as long as its context."""
    graph, tower = Graph(tensors, 1e-6, "tanh"), "text_model"
    sizes = config["text_config"]
    embeddings = f"{tower}.embeddings"
    x = graph.node("Gather", graph.weight(f"{embeddings}.token_embedding.weight"), "input_ids")
    x = graph.node("Add", x, graph.weight(f"{embeddings}.position_embedding.weight"))
    x = graph.norm(f"{tower}.final_layer_norm", graph.layers(tower, x, sizes))
    pooled = graph.token(x, sizes["max_position_embeddings"] - 1)
    return text_model(graph, graph.linear(f"{tower}.head", pooled), sizes["hidden_size"])


def quantise(model: onnx.ModelProto, path: Path) -> None:
    """As transformers.js's own models are made: weights int8, activations uint8 by the call.

    Weights are unsigned where there is a convolution, which onnxruntime-web runs in no other form.
    They have a scale a channel: its default, one a tensor, is no faster and further from f32.
    """
    convolution = any(node.op_type == "Conv" for node in model.graph.node)
    with TemporaryDirectory() as directory:
        whole = Path(directory) / "model.onnx"
        onnx.save(model, whole)
        quantize_dynamic(
            whole, path, per_channel=True, weight_type=QuantType.QUInt8 if convolution else QuantType.QInt8,
            extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True},
        )


def clip_settings(config: dict) -> dict[str, dict]:
    """The small files that say how to prepare images and texts, as OpenAI's model on the Hub has them."""
    edge = config["vision_config"]["image_size"]
    return {
        "config.json": config | {"architectures": ["CLIPModel"]},
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor", "feature_extractor_type": "CLIPFeatureExtractor",
            "do_resize": True, "size": {"shortest_edge": edge}, "resample": 3,
            "do_center_crop": True, "crop_size": {"height": edge, "width": edge},
            "do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": True, "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer", "model_max_length": config["text_config"]["max_position_embeddings"],
            "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
            "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
            "add_prefix_space": False, "do_lower_case": True, "clean_up_tokenization_spaces": True,
        },
    }


def siglip_settings(config: dict) -> dict[str, dict]:
    """The same files, as Google's SigLIP 2 on the Hub has them."""
    edge = config["vision_config"]["image_size"]
    return {
        "config.json": config | {"architectures": ["SiglipModel"]},
        "preprocessor_config.json": {
            "image_processor_type": "SiglipImageProcessor", "processor_class": "SiglipProcessor",
            "do_resize": True, "size": {"height": edge, "width": edge}, "resample": 2,
            "do_rescale": True, "rescale_factor": 1 / 255, "do_convert_rgb": None, "do_normalize": True,
            "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        },
        "tokenizer_config.json": {
            "tokenizer_class": "GemmaTokenizer", "processor_class": "SiglipProcessor",
            "model_max_length": config["text_config"]["max_position_embeddings"],
            "add_bos_token": False, "add_eos_token": True, "do_lower_case": True, "clean_up_tokenization_spaces": False,
            "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
        },
    }


FAMILIES = {
    "clip": (clip_settings, {"vision": clip_vision, "text": clip_text}),
    "siglip": (siglip_settings, {"vision": siglip_vision, "text": siglip_text}),
}


def main(checkpoint: Path, out: Path) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    settings, towers = FAMILIES[config["model_type"]]
    (out / "onnx").mkdir(parents=True, exist_ok=True)
    for name, content in settings(config).items():
        (out / name).write_text(json.dumps(content, indent=1) + "\n")
    shutil.copy(checkpoint / "tokenizer.json", out)
    for name, tower in towers.items():
        model = tower(tensors, config)
        path = out / "onnx" / f"{name}_model.onnx"
        onnx.save(model, path)
        quantised = path.with_stem(f"{path.stem}_quantized")
        quantise(model, quantised)
        for file in (path, quantised):
            print(f"{file.name}: {file.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
