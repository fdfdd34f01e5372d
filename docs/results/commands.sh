#!/usr/bin/env bash
# Every row of docs/results/*.md, from nothing. Hours on two cores: rows whose full report exists are not run again.
# Full reports go to RESULTS (default: runs/results). From there they get into the tables by
#   python docs/results/condense.py runs/results && python docs/results/tables.py
#
#   docs/results/commands.sh train              the two networks, into RUNS (default: runs/)
#   docs/results/commands.sh sweep vgg11        2,000 test images, T = 64
#   docs/results/commands.sh compare NETWORK N FOLDER/NAME ...   methods by T on N test images: the pages have the options
#   docs/results/commands.sh single NETWORK     those LM-HT networks, reparameterized
#   docs/results/commands.sh hybrid NETWORK     QCFS, then LM-HT and LM-H: at the start, fine-tuned, reparameterized
#   docs/results/commands.sh slices NETWORK     online training in slices of time, T = 8
#   docs/results/commands.sh direct NETWORK     LM-HT and IF trained from scratch
#   docs/results/commands.sh training           papers' training methods under one budget: days
#   docs/results/commands.sh training-subset    the same under a short budget: an hour
#   docs/results/commands.sh training-starts    methods that start slowly, each with one thing changed
#   docs/results/commands.sh speech             M5 on spoken commands, T = 64
#   docs/results/commands.sh text               an LSTM on Debian's package descriptions, T = 256
#   docs/results/commands.sh levels NETWORK     LM-HT as converted, without fine-tuning: all 10,000
#   docs/results/commands.sh events             recordings of an event camera: minutes, not hours
set -euo pipefail
# from the repository's root
results=${RESULTS:-runs/results}
runs=${RUNS:-runs}
threads=${THREADS:-1} # of a row: as many rows as there are cores run at once
lean=(--metric accuracy --metric firing-rate --metric synops --metric energy)

train() {
  local common=(--data fashion-mnist --batch-size 128 --augment flip --validation 0.05 --lr 0.1 --warmup 0.5)
  snnconv train resnet20 "${common[@]}" --epochs 7 --run "$runs/resnet20"
  snnconv train 'vgg11?width=0.5' "${common[@]}" --epochs 9 --run "$runs/vgg11"
}

thresholds() { # network
  for method in max percentile mse; do
    [ -f "$runs/$1/$method.safetensors" ] || snnconv calibrate "$runs/$1/ann.safetensors" \
      --method "$method" --granularity layer --run "$runs/$1" --out "$runs/$1/$method.safetensors"
  done
}

row() { # network name thresholds T limit ... convert options, --, evaluate options
  local network=$1 name=$2 method=$3 T=$4 limit=$5 convert=()
  shift 5
  while [ $# -gt 0 ] && [ "$1" != -- ]; do convert+=("$1"); shift; done
  [ $# -gt 0 ] && shift
  local report="$results/$network/$name.json"
  [ -f "$report" ] && return
  snnconv convert "$runs/$network/$method.safetensors" --thresholds as-calibrated --timesteps "$T" "${convert[@]}" \
    --run "$runs/$network" --out "$runs/$network/converted-$name.safetensors"
  snnconv evaluate "$runs/$network/converted-$name.safetensors" --limit "$limit" --threads "$threads" "$@" \
    --run "$runs/$network" --out "$report"
}

own() { # network: the column of MSAT's Table 2 that was made for its kind
  [ "$1" = vgg11 ] && echo vgg16 || echo resnet20
}

sweep() { # network
  local preset method
  preset=$(own "$1")
  thresholds "$1"
  row "$1" if-max-v0 max 64 2000 --neuron if --param v0=0 -- "${lean[@]}"
  row "$1" if-percentile percentile 64 2000 --neuron if -- "${lean[@]}"
  row "$1" if-mse mse 64 2000 --neuron if -- "${lean[@]}"
  row "$1" "msat-percentile-v05-$preset" percentile 64 2000 --neuron msat --param "preset=$preset" \
    --param v0=0.5 -- "${lean[@]}"
  row "$1" msat-max-dtt max 64 2000 --neuron msat --param "preset=$preset" --param det=false -- "${lean[@]}"
  row "$1" msat-max-det max 64 2000 --neuron msat --param "preset=$preset" --param dtt=false -- "${lean[@]}"
  confidence "$1" "$preset"
  for preset in vgg16 resnet20 resnet34; do
    for method in max percentile; do
      row "$1" "msat-$method-$preset" "$method" 64 2000 --neuron msat --param "preset=$preset" -- "${lean[@]}"
    done
  done
}

confidence() { # network preset: as in MSAT's paper, and where the network is accurate
  row "$1" sc-off max 32 2000 --neuron msat --param "preset=$2"
  row "$1" sc-last max 32 2000 --neuron msat --param "preset=$2" --confidence last
  local accurate=(--neuron msat --param "preset=$2" --param v0=0.5)
  row "$1" sc-percentile-off percentile 32 2000 "${accurate[@]}"
  row "$1" sc-percentile-last percentile 32 2000 "${accurate[@]}" --confidence last
  row "$1" sc-percentile-all percentile 32 2000 "${accurate[@]}" --confidence all
}

levels() { # network
  local both L T
  thresholds "$1"
  for both in 2-1 2-2 2-4 4-1 4-2 8-2 16-1 16-2; do
    L=${both%-*} T=${both#*-}
    [ -f "$runs/$1/mse$((L * T)).safetensors" ] || snnconv calibrate "$runs/$1/ann.safetensors" \
      --method mse --granularity layer --param "timesteps=$((L * T))" --run "$runs/$1" \
      --out "$runs/$1/mse$((L * T)).safetensors"
    row "$1" "lm-ht-$both" "mse$((L * T))" "$T" 10000 --neuron lm-ht --param "levels=$L" -- "${lean[@]}"
  done
}

single() { # network
  local both name
  for both in 2-1 2-2 2-4; do
    for name in "$1-$both" "$1-$both-vanilla"; do
      local how=() report="$results/single/$name.json"
      [ "$name" = "$1-$both" ] || how=(--vanilla)
      [ -f "$report" ] && continue
      mkdir -p "$results/single"
      snnconv reparameterize "$runs/$1/converted-lm-ht-$both.safetensors" "${how[@]}" --threads "$threads" \
        --run "$runs/$1" --out "$runs/$1/single-$name.safetensors"
      cp "$runs/$1/single-$name.json" "$report"
    done
  done
}

events() { # the saccade set, and a small network on it: 2,000 test recordings of 8 frames
  [ -f data/saccades.npz ] || python docs/results/saccades.py data/saccades.npz
  [ -f "$runs/events/ann.safetensors" ] || snnconv train cnn --data npz:data/saccades.npz --batch-size 100 \
    --augment flip --validation 0.05 --lr 0.1 --warmup 0.5 --epochs 6 --threads 1 --run "$runs/events"
  thresholds events
  mkdir -p "$results/events"
  row events if-32 percentile 32 2000 --neuron if -- "${lean[@]}"
  row events msat-32 percentile 32 2000 --neuron msat --param preset=vgg16 --param v0=0.5 -- "${lean[@]}"
  # fewer steps than frames: frames that follow each other are merged
  row events if-4 percentile 4 2000 --neuron if -- "${lean[@]}"
  row events msat-4 percentile 4 2000 --neuron msat --param preset=vgg16 --param v0=0.5 -- "${lean[@]}"
  row events lm-ht-4 mse 4 2000 --neuron lm-ht --param levels=4 -- "${lean[@]}"
}

speech() { # espeak-ng has to be installed
  [ -d "$runs/spoken" ] || python docs/results/spoken_commands.py "$runs/spoken"
  [ -f "$runs/speech/ann.safetensors" ] || snnconv train 'm5?width=0.5' --data "speech-commands:$runs/spoken" \
    --epochs 5 --lr 0.05 --threads "$threads" --run "$runs/speech"
  thresholds speech
  mkdir -p "$results/speech"
  row speech m5-if-max-v0 max 64 1620 --neuron if --param v0=0 -- "${lean[@]}"
  row speech m5-msat-max max 64 1620 --neuron msat -- "${lean[@]}"
  row speech m5-if-percentile percentile 64 1620 --neuron if -- "${lean[@]}"
  row speech m5-msat-percentile percentile 64 1620 --neuron msat --param v0=0.5 -- "${lean[@]}"
}

text() {
  local data=(--data "textfolder:$runs/packages?length=32") how=(--clip-gradient 1 --weight-decay 1e-5)
  local base=$runs/text hard=$runs/text-hard
  how+=(--validation 0.05 --threads "$threads")
  [ -d "$runs/packages" ] || python docs/results/package_texts.py "$runs/packages"
  [ -f "$base/ann.safetensors" ] || snnconv train 'lstm?embedding=32&hidden=32' "${data[@]}" --epochs 8 \
    --lr 0.4 --warmup 0.5 --batch-size 64 "${how[@]}" --run "$base"
  [ -f "$hard/ann.safetensors" ] || snnconv train "$base/ann.safetensors" --recurrent hard "${data[@]}" \
    --epochs 2 --lr 0.05 --batch-size 128 "${how[@]}" --run "$hard"
  local rmp=(if-max-v0 max --neuron if --param v0=0) start=(if-percentile percentile --neuron if)
  local msat=(--neuron msat --param preset=vgg16)
  text_row text lstm 256 1800 256 "${rmp[@]}"
  text_row text lstm 256 1800 256 msat-max-vgg16 max "${msat[@]}"
  text_row text lstm 256 1800 256 "${start[@]}"
  text_row text lstm 256 1800 256 msat-percentile-v05 percentile "${msat[@]}" --param v0=0.5
  text_row text-hard hard 256 1800 32 "${rmp[@]}"
  text_row text-hard hard 256 1800 32 "${start[@]}"
  text_row text-hard hard 256 1800 32 msat-percentile-v05 percentile "${msat[@]}" --param v0=0.5
}

text_row() { # run name T limit chunk row thresholds ... convert options
  local run=$runs/$1 T=$3 limit=$4 chunk=$5 method=$7
  local report="$results/text/$2-$6.json" spiking="$runs/$1/converted-$6.safetensors"
  shift 7
  [ -f "$report" ] && return
  [ -f "$run/$method.safetensors" ] || snnconv calibrate "$run/ann.safetensors" \
    --non-relu analog --method "$method" --granularity layer --run "$run" --out "$run/$method.safetensors"
  snnconv convert "$run/$method.safetensors" --thresholds as-calibrated --timesteps "$T" "$@" --run "$run" --out "$spiking"
  snnconv evaluate "$spiking" --limit "$limit" --batch-size 100 --chunk "$chunk" --threads "$threads" \
    "${lean[@]}" --run "$run" --out "$report"
}

# A short budget, the same for all that are compared: half of the training split, once.
budget=(--epochs 1 --limit 30000 --lr 0.01 --batch-size 128 --augment flip --validation 0.05)

hybrid() { # network
  local q both L T
  mkdir -p "$results/hybrid"
  quantized "$1" 8 2
  quantized "$1" 4 4 # fewer levels take longer
  for q in 4 8; do
    for both in 2-1 2-2 2-4 4-1 4-2; do
      L=${both%-*} T=${both#*-}
      start "$1" "q$q-lm-ht-$both" "qcfs$q" "$T" --neuron lm-ht --param "levels=$L"
    done
    start "$1" "q$q-if" "qcfs$q" 32 --neuron if
  done
  for T in 2 4; do
    for q in 4 8; do start "$1" "q$q-lm-h-$T" "qcfs$q" "$T" --neuron lm-h; done
  done
  for both in lm-ht-2-2 lm-ht-2-1 lm-ht-4-1 lm-ht-4-2 lm-ht-2-4 lm-h-2 lm-h-4; do
    for q in 4 8; do tuned "$1" "q$q-$both"; done
  done
  # frozen: neurons are released after more epochs than there are
  tuned "$1" q4-lm-ht-2-2 uniform-frozen --release 30
  start "$1" q4-lm-ht-2-2-identity qcfs4 2 --neuron lm-ht --param levels=2 --param omega=identity
  tuned "$1" q4-lm-ht-2-2-identity frozen --release 30
  for both in 2-1 2-2 2-4 4-1 4-2; do
    for q in 4 8; do
      for L in single vanilla; do reparameterized "$1" "q$q-lm-ht-$both-tuned" "$L"; done
    done
  done
  for both in q4-lm-ht-2-2-uniform-frozen q4-lm-ht-2-2-identity-frozen; do
    for L in single vanilla; do reparameterized "$1" "$both" "$L"; done
  done
  # where the short budget leaves the ResNet half a point behind its QCFS network
  [ "$1" = vgg11 ] || tuned "$1" q8-lm-ht-2-2 longer --limit 57000 --epochs 3
}

quantized() { # network levels epochs
  [ -f "$runs/$1/qcfs$2.safetensors" ] || snnconv train "$runs/$1/ann.safetensors" --activation qcfs \
    --levels "$2" --data fashion-mnist --epochs "$3" --lr 0.02 --batch-size 128 --augment flip \
    --validation 0.05 --threads "$threads" --run "$runs/$1/qcfs$2" --out "$runs/$1/qcfs$2.safetensors"
}

start() { # network name thresholds T ... convert options: before any fine-tuning
  local network=$1 name=$2 method=$3 T=$4
  shift 4
  [ -f "$results/hybrid/$network-$name.json" ] && return
  snnconv convert "$runs/$network/$method.safetensors" --thresholds as-calibrated --timesteps "$T" "$@" \
    --run "$runs/$network" --out "$runs/$network/$name.safetensors"
  measured "$network" "$name"
}

tuned() { # network name [how] ... fine-tuning options
  local network=$1 from=$2 name=$2-${3:-tuned}
  shift $(($# < 3 ? 2 : 3))
  [ -f "$results/hybrid/$network-$name.json" ] && return
  # densely: these rows were measured before training went by events, which rounds differently
  snnconv finetune "$runs/$network/$from.safetensors" "${budget[@]}" "$@" --threads "$threads" \
    --engine dense --run "$runs/$network/$name" --out "$runs/$network/$name.safetensors"
  mkdir -p "$results/hybrid-training"
  cp "$runs/$network/$name.json" "$results/hybrid-training/$network-$name.json"
  measured "$network" "$name"
}

measured() { # network name
  snnconv evaluate "$runs/$1/$2.safetensors" --threads "$threads" "${lean[@]}" \
    --run "$runs/$1" --out "$results/hybrid/$1-$2.json"
}

reparameterized() { # network name single|vanilla
  local how=() name=$2-$3
  [ "$3" = single ] || how=(--vanilla)
  [ -f "$results/hybrid/$1-$name.json" ] && return
  snnconv reparameterize "$runs/$1/$2.safetensors" "${how[@]}" --tolerance 100 --threads "$threads" \
    --run "$runs/$1" --out "$runs/$1/$name.safetensors"
  cp "$runs/$1/$name.json" "$results/hybrid/$1-$name.json"
}

slices() { # network: an eighth of the split, as T is long
  local k
  mkdir -p "$results/hybrid"
  start "$1" q8-lm-h-8 qcfs8 8 --neuron lm-h
  start "$1" q8-lm-h-8-through qcfs8 8 --neuron lm-h --param reset=through
  for k in 1 2 4 8; do tuned "$1" q8-lm-h-8-through "slice-$k" --limit 7500 --slice "$k"; done
  [ "$1" = resnet20 ] || return 0
  # with the paper's gradient, which skips the reset, and twice the images
  for k in 1 2 4 8; do tuned "$1" q8-lm-h-8 "slice-$k" --limit 15000 --slice "$k"; done
}

direct() { # network: the whole split, four times
  local how=(--data fashion-mnist --epochs 4 --lr 0.1 --warmup 0.5 --batch-size 128 --augment flip --validation 0.05)
  local model=$1
  mkdir -p "$results/hybrid"
  [ "$1" = vgg11 ] && model='vgg11?width=0.5'
  scratch "$1" "$model" direct-lm-ht-2-2 --neuron lm-ht --param levels=2 --timesteps 2 "${how[@]}"
  scratch "$1" "$model" direct-if-4 --neuron if --timesteps 4 "${how[@]}"
}

scratch() { # network model name ... training options
  local network=$1 model=$2 name=$3
  shift 3
  [ -f "$results/hybrid/$network-$name.json" ] && return
  snnconv train "$model" "$@" --threads "$threads" --run "$runs/$network/$name" --out "$runs/$network/$name.safetensors"
  measured "$network" "$name"
}

compare() { # network limit folder/name ... options of compare: one table of methods by T
  local network=$1 limit=$2 name=$3
  shift 3
  mkdir -p "$(dirname "$results/$name")"
  snnconv compare "$runs/$network/ann.safetensors" --limit "$limit" --threads "$threads" --memory 4GiB "$@" \
    --run "$runs/$network/compared-$limit" --out "$results/$name.json"
}

training() { # all presets, T = 2, 4, 6, and three seeds for the five best; ablation and events, too
  local long=(--epochs 20 --train-batch-size 128 --validation 0.05 --augment flip)
  trained resnet20 resnet20 fashion-mnist 2,4,6 "${long[@]}"
  trained vgg11 'vgg11?width=0.5' fashion-mnist 2,4,6 "${long[@]}"
  without_t_gim resnet20 resnet20 "${long[@]}"
  without_t_gim vgg11 'vgg11?width=0.5' "${long[@]}"
  events-10
  trained events resnet20 npz:data/saccades-10.npz 10 "${long[@]}"
}

training-subset() { # one budget that ranks methods after 7,200 images, and says no more
  local short=(--epochs 2 --train-limit 4000 --train-batch-size 32 --validation 0.1 --augment flip --limit 1000)
  trained resnet20-subset resnet20 fashion-mnist 2 "${short[@]}"
  trained vgg11-subset 'vgg11?width=0.5' fashion-mnist 2 "${short[@]}"
  without_t_gim vgg11-subset 'vgg11?width=0.5' "${short[@]}"
  events-10
  trained events-subset cnn npz:data/saccades-10.npz 10 "${short[@]}"
}

events-10() { # saccades in ten frames
  [ -f data/saccades-10.npz ] || python docs/results/saccades.py data/saccades-10.npz 10
}

training-starts() { # methods that start slowly: their first step, and each with one thing changed
  local presets=docs/results/training_presets changed=() name
  for name in tebn-fast batch-slow plif-full asgl-ramp ltl-end-to-end; do changed+=("$presets/$name.toml"); done
  RESULTS=$results python docs/results/first_step.py resnet20 tet tebn plif plif@8 glif asgl "$presets/asgl-ramp.toml"
  mkdir -p "$results/training"
  snnconv compare resnet20 --training "$(IFS=,; echo "${changed[*]}")" --data fashion-mnist --timesteps 2 \
    --threads "$threads" --epochs 2 --train-limit 4000 --train-batch-size 32 --validation 0.1 --augment flip --limit 1000 \
    --run "$runs/training/resnet20-subset" --out "$results/training/resnet20-subset-starts.json"
}

trained() { # row model data T ... budget: every preset once, then the five best with two more seeds
  local row=$1 model=$2 data=$3 T=$4
  shift 4
  local run=$runs/training/$row how=(--data "$data" --timesteps "$T" --threads "$threads" "$@")
  mkdir -p "$results/training"
  # a method that this network can't have, as SEW on a VGG, is told in the report
  snnconv compare "$model" --training all "${how[@]}" --run "$run" --out "$results/training/$row.json" || [ $? = 4 ]
  snnconv compare "$model" --training "$(best "$results/training/$row.json" 5)" --seeds 0,1,2 "${how[@]}" \
    --run "$run" --out "$results/training/$row-best.json"
}

best() { # report N: the methods with the best mean accuracy at any T
  python - "$1" "$2" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
score = {row["method"]: max(cell["score"]["mean"] for cell in row["cells"]) for row in report["methods"]}
print(",".join(sorted(score, key=score.get, reverse=True)[: int(sys.argv[2])]))
END
}

without_t_gim() { # row model ... budget: LM-HT's Table 1
  local row=$1 model=$2 presets=docs/results/training_presets
  shift 2
  local how=(--data fashion-mnist --threads "$threads" "$@" --run "$runs/training/$row")
  snnconv compare "$model" --training "lm-ht,$presets/lm-ht-no-t-gim.toml" --timesteps 2 "${how[@]}" \
    --out "$results/training/$row-t-gim.json"
  snnconv compare "$model" --training "$presets/if.toml" --timesteps 4 "${how[@]}" \
    --out "$results/training/$row-no-t-gim-if.json"
}

"$@"
