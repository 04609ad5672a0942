#!/bin/sh
# Compile a network to machine code on TVM, and run the file in a process that has neither onnx nor
# ONNX Runtime: numpy, TVM and four lines are enough.
#
#     tvm_artifact.sh model.onnx model.planish
set -eu
model=$1 artifact=$2

planish compile "$model" "$artifact" --backend tvm
planish inspect "$artifact"
"${PYTHON:-python3}" "$(dirname "$0")/run_artifact.py" "$artifact"
