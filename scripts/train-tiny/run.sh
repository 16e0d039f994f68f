#!/usr/bin/env bash
# Makes models/tiny.pt from nothing: images, training, import. Needs a Python with the versions in
# scripts/goldens/requirements.txt, `npm run build` done, 4 GB of disk in WORK, and under 3 hours on 2 cores.
# Usage: scripts/train-tiny/run.sh WORK
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${1:?a folder for images and checkpoints}
mkdir -p "$work/model"
# Large blocks stay in the heap: without this, returning them to the system each step halves the speed.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456
npx tsx scripts/train-tiny/images.ts "$work/p1" 100 14000 &
npx tsx scripts/train-tiny/images.ts "$work/p2" 200 14000 &
wait
"${PYTHON:-python3}" scripts/train-tiny/train.py --images "$work/p1" "$work/p2" --out "$work/tiny" --steps 5200 --minutes 170
cp "$work/tiny.safetensors" "$work/model/model.safetensors"
cp "$work/tiny.tokenizer.json" "$work/model/tokenizer.json"
node dist/cli/main.js import "$work/model" -o models/tiny.pt --name tiny
