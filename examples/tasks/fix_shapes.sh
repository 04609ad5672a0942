#!/bin/sh
# Give a model other input sizes than it was exported with, and see that they are right throughout.
#
#     fix_shapes.sh model.onnx x=1,3,320,320 fixed.onnx
set -eu
model=$1 shape=$2 fixed=$3

planish optimize "$model" "$fixed" --input-shape "$shape" -p cleanup
planish inspect "$fixed" --top 5
