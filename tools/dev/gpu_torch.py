#!/usr/bin/env python3
"""What gpu-check compares with, on PyTorch. Prints one JSON line.

    gpu_torch.py bert --length=N --samples=N --dtype=fp32|bf16    a training step of bert-large, torch.compile and SDPA
    gpu_torch.py sdpa forward|backward WHAT --dtype=...           attention; WHAT as seqpar-kernels writes it
    gpu_torch.py gemm WHAT --dtype=...                            a product, as cuBLAS does it
    gpu_torch.py copy                                             a copy within the GPU's memory
"""
import argparse
import json
import re
import sys

try:
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
except ImportError as error:
    sys.exit(f"PyTorch is not installed: {error}")


def best_ms(body, repeats=20):
    for _ in range(3):
        body()
    best = float("inf")
    for _ in range(repeats):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        body()
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end))
    return best


class Layer(nn.Module):
    """Pre-LN, as models/bert-large.mlir."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(hidden, 1e-12), nn.LayerNorm(hidden, 1e-12)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x, mask):
        batch, length, hidden = x.shape
        q, k, v = self.qkv(self.first(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attention = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(attention.transpose(1, 2).reshape(batch, length, hidden))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Bert(nn.Module):
    def __init__(self, layers=24, hidden=1024, heads=16, vocabulary=30522, positions=512):
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, hidden), nn.Embedding(positions, hidden)
        self.types = nn.Embedding(2, hidden)
        self.norm, self.last = nn.LayerNorm(hidden, 1e-12), nn.LayerNorm(hidden, 1e-12)
        self.layers = nn.ModuleList(Layer(hidden, heads) for _ in range(layers))
        self.transform, self.transformed = nn.Linear(hidden, hidden), nn.LayerNorm(hidden, 1e-12)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.pool, self.order = nn.Linear(hidden, hidden), nn.Linear(hidden, 2)

    def forward(self, tokens, types, mask, rows, labels, order):
        place = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.words(tokens) + self.places(place) + self.types(types))
        for layer in self.layers:
            x = layer(x, mask)
        x = self.last(x)
        masked = x.reshape(-1, x.shape[-1])[rows]
        logits = self.transformed(F.gelu(self.transform(masked))) @ self.words.weight.t() + self.bias
        pooled = torch.tanh(self.pool(x[:, 0]))
        return F.cross_entropy(logits.float(), labels) + F.cross_entropy(self.order(pooled).float(), order)


def bert(options):
    torch.manual_seed(1)
    model = Bert().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    shape = (options.samples, options.length)
    tokens = torch.randint(0, 30522, shape, device="cuda")
    types = torch.zeros(shape, dtype=torch.long, device="cuda")
    mask = torch.ones(options.samples, 1, 1, options.length, dtype=torch.bool, device="cuda")
    rows = torch.randperm(tokens.numel(), device="cuda")[: int(0.15 * tokens.numel())].sort().values
    labels = tokens.view(-1)[rows]
    order = torch.randint(0, 2, (options.samples,), device="cuda")
    compiled = torch.compile(model)

    def step():
        with torch.autocast("cuda", torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = compiled(tokens, types, mask, rows, labels, order)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return {"step_ms": best_ms(step)}


def dtype_of(options):
    return torch.bfloat16 if options.dtype == "bf16" else torch.float32


def sdpa(options):
    batch, heads, size, queries, keys = map(int, re.findall(r"\d+", options.what)[:5])
    make = lambda length: torch.randn(batch, heads, length, size, device="cuda", dtype=dtype_of(options),  # noqa: E731
                                      requires_grad=True)
    q, k, v = make(queries), make(keys), make(keys)
    operations = 4.0 * batch * heads * queries * keys * size
    if options.direction == "forward":
        with torch.no_grad():
            ms = best_ms(lambda: F.scaled_dot_product_attention(q, k, v))
    else:
        # With its forward pass, as the other side.
        dout = torch.randn_like(q)
        ms = best_ms(lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), dout))
        operations *= 3.5
    return {"tflops": operations / ms * 1e-9}


def gemm(options):
    form = options.what.split()[0]
    m, n, k = map(int, options.what.split()[1].split("x"))
    a = torch.randn((k, m) if form[0] == "T" else (m, k), device="cuda", dtype=dtype_of(options))
    b = torch.randn((n, k) if form[1] == "T" else (k, n), device="cuda", dtype=dtype_of(options))
    left, right = a.t() if form[0] == "T" else a, b.t() if form[1] == "T" else b
    ms = best_ms(lambda: torch.mm(left, right))
    return {"tflops": 2.0 * m * n * k / ms * 1e-9}


def copy(options):
    a = torch.empty(1 << 28, dtype=torch.float32, device="cuda")
    b = torch.empty_like(a)
    ms = best_ms(lambda: b.copy_(a))
    return {"gb_per_s": 2 * a.numel() * 4 / ms * 1e-6}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, body in (("bert", bert), ("sdpa", sdpa), ("gemm", gemm), ("copy", copy)):
        command = commands.add_parser(name)
        command.set_defaults(body=body)
        command.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"))
        if name == "bert":
            command.add_argument("--length", type=int, required=True)
            command.add_argument("--samples", type=int, required=True)
        if name == "sdpa":
            command.add_argument("direction", choices=("forward", "backward"))
        if name in ("sdpa", "gemm"):
            command.add_argument("what")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("PyTorch has no GPU")
    # fp32 is fp32 on both sides.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    print(json.dumps({**options.body(options), "torch": torch.__version__}))


main()
