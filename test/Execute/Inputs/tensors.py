"""Reading and writing safetensors files, and comparing sets of tensors."""
import json
import struct

import numpy as np

TYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8", "F64": "<f8"}
NAMES = {"float32": "F32", "int32": "I32"}


def load(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def save(path, tensors, metadata=None):
    header, offset, parts = {"__metadata__": metadata} if metadata else {}, 0, []
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": NAMES[str(value.dtype)], "shape": list(value.shape),
                        "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        parts.append(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def without_prefix(tensors, prefix):
    return {name[len(prefix):] if name.startswith(prefix) else name: value for name, value in tensors.items()}


def with_prefix(tensors, prefix):
    return {name[len(prefix):]: value for name, value in tensors.items() if name.startswith(prefix)}


def worst_error(found, wanted, scale):
    """The largest |found - wanted| / scale(name, wanted), and where. Missing or extra tensors are infinitely wrong."""
    if set(found) != set(wanted):
        return float("inf"), sorted(set(found) ^ set(wanted))[0]
    worst, where = 0.0, ""
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return float("inf"), name
        if not np.all(np.isfinite(found[name])):
            return float("inf"), name
        difference = np.abs(found[name].astype(np.float64) - value.astype(np.float64))
        error = float(difference.max()) / scale(name, value) if value.size else 0.0
        if error > worst:
            worst, where = error, name
    return worst, where


def magnitude(value):
    return float(np.abs(value).max()) if value.size else 0.0


def gradient_scale(gradients):
    """A tensor's largest magnitude, but at least a thousandth of the largest of any: the gradient of the attention's
    key bias is 0 in theory, so what is computed is rounding alone."""
    floor = 1e-3 * max(magnitude(value) for value in gradients.values())
    return lambda name, value: max(magnitude(value), floor)
