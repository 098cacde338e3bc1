"""Embeds the images of a folder on all machines of a Ray cluster, and writes their vectors as Parquet.

    python embed.py MODEL.gguf FOLDER OUTPUT [WORKERS]

Each worker runs the command line's `clip-wasm embed --stdin --output jsonl`, one process a core. If a worker or its
process is lost, its share is done again by another. The model and the folder must be at the same paths on all machines.
OUTPUT is a folder of Parquet files with the columns path, embedding, error_code and error.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import ray

EXTENSIONS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
PROGRAM = os.environ.get("CLIP_WASM", "clip-wasm")
# Small enough that a lost worker loses little, large enough that Ray's own work does not count.
BATCH = 16
TRIES = 3


class Embedder:
    """A worker: one process of the command line, which holds the model as long as the worker lives."""

    def __init__(self, model: str):
        # One thread, because there is a process for each core.
        self.command = [PROGRAM, "embed", "--model", model, "--stdin", "--lines", "image", "--output", "jsonl", "--threads", "1"]
        self.process = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        paths = batch["path"].to_pylist()
        for tries in range(TRIES):
            try:
                return table([self.embed(path) for path in paths])
            except (OSError, ValueError):
                # The process has ended, perhaps for lack of memory.
                self.stop()
                if tries == TRIES - 1:
                    raise

    def embed(self, path: str) -> dict:
        if self.process is None:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, encoding="utf-8", errors="surrogateescape")
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise OSError(f"{PROGRAM} ended with code {self.process.wait()} at {path}")
        return {**json.loads(line), "path": path}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def __del__(self):
        self.stop()


def table(rows: list[dict]) -> pa.Table:
    errors = [row.get("error", {}) for row in rows]
    return pa.table(
        {
            "path": pa.array([row["path"] for row in rows], pa.string()),
            "embedding": pa.array([row.get("embedding") for row in rows], pa.list_(pa.float32())),
            "error_code": pa.array([error.get("code") for error in errors], pa.string()),
            "error": pa.array([error.get("message") for error in errors], pa.string()),
        }
    )


def main(model: str, folder: str, output: str, workers: str | None = None):
    ray.init(log_to_driver=False)
    paths = sorted(str(path) for path in Path(folder).rglob("*") if path.suffix.lower() in EXTENSIONS)
    if any("\n" in path for path in paths):
        sys.exit("a path has a line break; rename the file")
    count = int(workers or ray.cluster_resources()["CPU"])
    images = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=max(1, min(len(paths), 4 * count)))
    # A worker that is lost is started again, and what it had been given is done again.
    vectors = images.map_batches(
        Embedder,
        fn_constructor_args=[str(Path(model).resolve())],
        batch_format="pyarrow",
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=count),
        num_cpus=1,
        max_restarts=TRIES,
        max_task_retries=TRIES,
    )
    vectors.write_parquet(output)
    print(f"{len(paths)} images with {count} workers: {output}")


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
