#!/bin/sh
# Find out which layers make an int8 model worse than its float model, and take those back.
#
#     why_worse.sh int8.onnx model.onnx photographs/ better.onnx
set -eu
int8=$1 model=$2 photographs=$3 better=$4

planish explain-int8 "$int8" --float "$model" --feeds "$photographs" --pixels 0..255 \
    --apply -o "$better"
