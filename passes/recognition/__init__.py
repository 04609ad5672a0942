"""Exact passes that find the operator which exporters spelled out in smaller ones.

What they give, so that later passes need to know one form of each:

    HardSigmoid, Sigmoid, Softplus, Softsign, Relu, LeakyRelu, PRelu, Clip    ONNX, any opset
    HardSwish               ONNX from opset 14, before it `planish.HardSwish(X)`
    Silu  x * sigmoid(x)    `planish.Silu(X)`, any opset
    Mish                    `planish.Mish(X)`, any opset (its body is faster than ONNX's Mish)
    Gelu                    ONNX from opset 20 (attribute `approximate`, always explicit); before it
                            `planish.Gelu(X)`, and `planish.GeluTanh(X)` for the tanh form
    LayerNormalization      ONNX from opset 17, before it `planish.LayerNormalization(X, Scale, B,
                            epsilon; axes)`
    InstanceNormalization, GlobalAveragePool, GlobalMaxPool, DepthToSpace, SpaceToDepth    ONNX

Of float16 and bfloat16, Mish before opset 18 and Gelu before opset 20 stay as they are spelled.

The activations of the domain `planish` take one tensor and no attribute, and are element-wise.
"""
