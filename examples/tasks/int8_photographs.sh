#!/bin/sh
# Quantize a network that reads pixels of 0..255, with a folder of photographs as samples.
#
#     int8_photographs.sh detector.onnx photographs/ int8.onnx
#
# measure=false gives the same integers on every machine; without it, layers and whole networks that
# are not faster on integers stay float.
set -eu
model=$1 photographs=$2 int8=$3

planish optimize "$model" "$int8" -p 'int8{measure=false}' \
    --feeds "$photographs" --pixels 0..255
