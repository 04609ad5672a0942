#!/bin/sh
# See why a model did not become faster still: what passes left alone and why, and where time goes.
#
#     why_not_more.sh model.onnx
set -eu
model=$1

planish optimize "$model" --why -v
planish inspect "$model" --top 10
planish bench "$model" --per-layer --rounds "${ROUNDS:-20}"
