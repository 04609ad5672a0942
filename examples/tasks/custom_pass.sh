#!/bin/sh
# Run a pass of one's own, from a file, between those of planish: verified and counted like them.
#
#     custom_pass.sh model.onnx out.onnx
set -eu
model=$1 result=$2
here=$(dirname "$0")

planish passes merge-scales --plugin "$here/merge_scales.py"
planish optimize "$model" "$result" --plugin "$here/merge_scales.py" -p 'merge-scales,exact'
