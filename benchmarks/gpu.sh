#!/usr/bin/env bash
# All that waits for a GPU, in one call: tests, speed, accuracy. Results are written after every job; the same call goes on.
#   bash benchmarks/gpu.sh OUT [--images FOLDER] [--planetoid FOLDER] [--only PART,…] [--minutes M] [--smoke]
# FOLDER of --images holds CIFAR-10 as train/<class>/* and test/<class>/*, that of --planetoid Cora/raw and CiteSeer/raw.
# --smoke: every part in miniature, on a CPU.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m benchmarks.gpu "$@"
