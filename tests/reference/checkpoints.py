"""Writes small checkpoints with torch, which the reader of its archives is held to.

    python tests/reference/checkpoints.py

writes `tests/fixtures/torch/`: the checkpoints, and `tensors.json`, which has for each tensor of them its type, its
shape and its values.
"""

import collections
import io
import json
import pickle
from pathlib import Path

import torch

OUT = Path(__file__).parent.parent / "fixtures" / "torch"


def tensors():
    """Storages of different sizes, more than ten of them: by number, 2 comes before 10, and by name after it."""
    state = collections.OrderedDict()
    for i in range(12):
        state[f"ramp.{i}"] = torch.arange(3 * i + 1, dtype=torch.float32) / 8 + i
    state["matrix"] = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    state["half"] = torch.tensor([[0.5, -1.25, 3.0]], dtype=torch.float16)
    state["bfloat16"] = torch.tensor([0.5, -1.25, 3.0], dtype=torch.bfloat16)
    state["position_ids"] = torch.arange(5).unsqueeze(0)
    state["scalar"] = torch.tensor(2.65625)
    state["empty"] = torch.zeros(0)
    both = torch.arange(40, dtype=torch.float32)
    state["part.0"] = both[:16].reshape(4, 4)
    state["part.1"] = both[16:]
    state["tied"] = state["part.1"]
    state["transposed"] = both[:16].reshape(4, 4).t()
    state["parameter"] = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    # What Module.state_dict() leaves on its dict.
    state._metadata = collections.OrderedDict([("", {"version": 1})])
    return state


def save_as_before(state, path):
    """As torch 1.6 to 2.6 ordered its entries, by the writer of torch itself."""
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, torch.storage.TypedStorage):
                return None
            untyped = value._untyped_storage
            keys = [key for key, other in storages.items() if other._cdata == untyped._cdata]
            key = keys[0] if keys else str(len(storages))
            storages[key] = untyped
            return ("storage", getattr(torch, value._pickle_storage_type()), key, "cpu", value._size())

    data = io.BytesIO()
    Pickler(data, protocol=2).dump(state)
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.write_record("data.pkl", data.getvalue(), len(data.getvalue()))
    for key in sorted(storages):
        writer.write_record(f"data/{key}", storages[key], storages[key].nbytes())
    writer.write_end_of_file()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    state = tensors()
    torch.save(state, OUT / "state.bin")
    save_as_before(state, OUT / "before.bin")
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    training = {"epoch": 3, "name": "a run", "state_dict": wrapped, "optimizer": optimizer, "seed": 2**40}
    torch.save(training, OUT / "training.bin")
    small = {"matrix": state["matrix"]}
    torch.save(small, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"matrix": torch._neg_view(state["matrix"])}, OUT / "negative.bin")
    torch.save(torch.nn.Linear(2, 3), OUT / "module.bin")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 3)), OUT / "script.pt")
    described = {
        name: {
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "shape": list(tensor.shape),
            "contiguous": tensor.is_contiguous(),
            "values": tensor.detach().flatten().tolist(),
        }
        for name, tensor in state.items()
    }
    text = json.dumps({"torch": torch.__version__, "tensors": described}, indent=1)
    (OUT / "tensors.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
