#!/bin/sh
# Remove channels that matter least, and train the smaller network to do what the larger one did.
#
#     prune_recover.sh model.onnx photographs/ small.onnx
#
# No labels are needed. A quarter of the multiply-accumulates goes; STEPS of training for each block
# of the network (leave it out for a real one) bring the accuracy back. Needs the extra `torch`.
set -eu
model=$1 photographs=$2 small=$3

planish optimize "$model" "$small" --feeds "$photographs" --pixels 0..255 -p "simplify,
    prune{criterion=reconstruction,granularity=channel,amount=0.25,of=macs},
    recover${STEPS:+{steps=$STEPS\}},
    shrink-channels{measure=${MEASURE:-true}},exact"
planish compare "$model" "$small" --feeds "$photographs" --pixels 0..255
planish bench "$model" "$small" --rounds "${ROUNDS:-50}"
