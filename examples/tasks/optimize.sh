#!/bin/sh
# Make a model faster, exactly: every pass is verified, and the ratio is measured in turns.
#
#     optimize.sh model.onnx fast.onnx
set -eu
model=$1 fast=$2

planish optimize "$model" "$fast" --strict
planish compare "$model" "$fast" --tolerance 1e-4
planish bench "$model" "$fast" --rounds "${ROUNDS:-50}"
