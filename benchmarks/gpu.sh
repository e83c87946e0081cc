#!/usr/bin/env bash
# Everything that needs a GPU: the tests, speed, deep GCNs with the exact ContraNorm, accuracy. Results go to OUT.
#   bash benchmarks/gpu.sh OUT [PLANETOID [IMAGES [PART …]]]
# PLANETOID holds Cora/raw and CiteSeer/raw, IMAGES train/<class>/* and test/<class>/*; without them, or with "", their
# parts are left out. Parts: tests speed depth digits images (default: all). Each goes on if one before it failed.
set -uo pipefail
cd "$(dirname "$0")/.."
out="${1:?usage: bash benchmarks/gpu.sh OUT [PLANETOID [IMAGES [PART …]]]}"
planetoid="${2:-}"
images="${3:-}"
parts=("${@:4}")
[ ${#parts[@]} -gt 0 ] || parts=(tests speed depth digits images)
python -c 'import torch; raise SystemExit(not torch.cuda.is_available())' || { echo "PyTorch finds no GPU here"; exit 1; }
mkdir -p "$out"
failed=()

part() {
    local name="$1"
    shift
    [[ " ${parts[*]} " == *" $name "* ]] || return 0
    echo "== $name"
    "$@" 2>&1 | tee "$out/$name.log" || failed+=("$name")
}

part tests python -m pytest -q
part speed python -m benchmarks.speed --out "$out/speed.json"
[ -z "$planetoid" ] || part depth python -m benchmarks.graph_ssl.depth --root "$planetoid" --device cuda \
    --out "$out/depth.json" --norms "ContraNorm τ=1,ContraNorm τ=0.5,ContraNorm τ=0.2" --minutes 8
part digits python -m cl_as_gnn.cli train "run_dir=$out/digits"
[ -z "$images" ] || part images python -m cl_as_gnn.cli train configs/cifar10_cpu.yaml "data.root=$images" "run_dir=$out/images"
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
