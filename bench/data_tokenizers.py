#!/usr/bin/env python3
"""The tokenizer against Hugging Face tokenizers (pip install tokenizers), one thread, in turns.

Usage: data_tokenizers.py [BUILD_DIR [TURNS]]

Both get the sentences of test/Data/golden/corpora and the bundled vocabulary. Prints JSON lines:
megabytes of text a second of both (the best of all turns) and their ratio, above 1 where seqpar is
faster; then samples a second of the bundled corpus. The ids of both are compared, too.
"""
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402
from tokenizers.models import WordPiece  # noqa: E402
from tokenizers.normalizers import BertNormalizer  # noqa: E402
from tokenizers.pre_tokenizers import BertPreTokenizer  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VOCAB = os.path.join(ROOT, "models", "corpus", "vocab.txt")
CORPORA = [os.path.join(ROOT, "test", "Data", "golden", "corpora", name) for name in ("jargon_a.jsonl", "devil.jsonl")]


def read_sentences():
    for path in CORPORA:
        with open(path, encoding="utf-8") as f:
            for line in f:
                yield from json.loads(line)["text"].split("\n")


def hugging_face():
    tokenizer = Tokenizer(WordPiece.from_file(VOCAB, unk_token="[UNK]", max_input_chars_per_word=200))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


def measure(tokenizer, sentences, size):
    start = time.perf_counter()
    encoded = tokenizer.encode_batch_fast(sentences, add_special_tokens=False)
    seconds = time.perf_counter() - start
    return size / 1e6 / seconds, sum(len(e.ids) for e in encoded)


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build")
    turns = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    sentences = list(read_sentences())
    size = sum(len(s.encode()) for s in sentences)
    tokenizer = hugging_face()
    program = [os.path.join(build, "bin", "seqpar-bench-data"), f"--vocab={VOCAB}"]
    ours = theirs = 0
    for _ in range(turns):
        rate, their_tokens = measure(tokenizer, sentences, size)
        theirs = max(theirs, rate)
        line = json.loads(subprocess.run(program + ["--min-seconds=0.5", "--jsonl"] + CORPORA, check=True, capture_output=True).stdout)
        ours, tokens = max(ours, line["mb_per_s"]), line["tokens"]
    print(json.dumps({"bench": "tokenizer", "mb": round(size / 1e6, 2), "tokens": tokens, "same_tokens": tokens == their_tokens,
                      "seqpar_mb_per_s": ours, "tokenizers_mb_per_s": round(theirs, 2), "ratio": round(ours / theirs, 1)}))
    corpus = os.path.join(ROOT, "models", "corpus", "corpus_text_sentence")
    subprocess.run(program + [f"--data-path={corpus}"], check=True)


if __name__ == "__main__":
    main()
