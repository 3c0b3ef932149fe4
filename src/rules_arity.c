/* Which inputs operators cannot do without. Rules and decompositions take these for granted; a file
 * may come without them. */
#include <string.h>

#include "rules.h"

/* Of the standard: those that need more or less than the first, and how many, by name. The numbers
 * are those of the ONNX schemas, which tests/test_ops.py compares. */
static const struct {
    const char *op;
    unsigned count;
} standard[] = {
    {"Add", 2},
    {"AffineGrid", 2},
    {"And", 2},
    {"ArrayFeatureExtractor", 2},
    {"Attention", 3},
    {"BatchNormalization", 5},
    {"BitShift", 2},
    {"BitwiseAnd", 2},
    {"BitwiseOr", 2},
    {"BitwiseXor", 2},
    {"CastLike", 2},
    {"CausalConvWithState", 2},
    {"CenterCropPad", 2},
    {"Col2Im", 3},
    {"Compress", 2},
    {"Conv", 2},
    {"ConvInteger", 2},
    {"ConvTranspose", 2},
    {"CumProd", 2},
    {"CumSum", 2},
    {"DeformConv", 3},
    {"DequantizeLinear", 2},
    {"Div", 2},
    {"Equal", 2},
    {"Expand", 2},
    {"GRU", 3},
    {"Gather", 2},
    {"GatherElements", 2},
    {"GatherND", 2},
    {"Gemm", 2},
    {"Greater", 2},
    {"GreaterOrEqual", 2},
    {"GridSample", 2},
    {"GroupNormalization", 3},
    {"InstanceNormalization", 3},
    {"LSTM", 3},
    {"LayerNormalization", 2},
    {"Less", 2},
    {"LessOrEqual", 2},
    {"LinearAttention", 3},
    {"Loop", 0},
    {"MatMul", 2},
    {"MatMulInteger", 2},
    {"MaxRoiPool", 2},
    {"MaxUnpool", 2},
    {"MelWeightMatrix", 5},
    {"Mod", 2},
    {"Mul", 2},
    {"NegativeLogLikelihoodLoss", 2},
    {"NonMaxSuppression", 2},
    {"OneHot", 3},
    {"Optional", 0},
    {"Or", 2},
    {"PRelu", 2},
    {"Pad", 2},
    {"Pow", 2},
    {"QLinearConv", 8},
    {"QLinearMatMul", 8},
    {"QuantizeLinear", 2},
    {"RMSNormalization", 2},
    {"RNN", 3},
    {"Range", 3},
    {"Reshape", 2},
    {"ReverseSequence", 2},
    {"RoiAlign", 3},
    {"RotaryEmbedding", 3},
    {"STFT", 2},
    {"ScatterElements", 3},
    {"ScatterND", 3},
    {"SequenceAt", 2},
    {"SequenceEmpty", 0},
    {"SequenceInsert", 2},
    {"Slice", 3},
    {"SoftmaxCrossEntropyLoss", 2},
    {"StringConcat", 2},
    {"Sub", 2},
    {"SwiGLU", 2},
    {"TensorScatter", 2},
    {"Tile", 2},
    {"TopK", 2},
    {"Unsqueeze", 2},
    {"Where", 3},
    {"Xor", 2},
};

/* Of com.microsoft, where optional inputs lie between: a bit an input. */
static const struct {
    const char *op;
    uint32_t bits;
} contrib[] = {
    {"Attention", 0x3},
    {"BiasAdd", 0x7},
    {"BiasGelu", 0x3},
    {"DequantizeLinear", 0x3},
    {"DynamicQuantizeMatMul", 0x7},
    {"EmbedLayerNormalization", 0x6d},
    {"FusedConv", 0x3},
    {"FusedGemm", 0x3},
    {"FusedMatMul", 0x3},
    {"MatMulIntegerToFloat", 0xf},
    {"MatMulNBits", 0x7},
    {"NhwcConv", 0x3},
    {"QGemm", 0x3f},
    {"QLinearAdd", 0x5b},
    {"QLinearAveragePool", 0xb},
    {"QLinearConcat", 0xf},
    {"QLinearGlobalAveragePool", 0xb},
    {"QLinearLeakyRelu", 0xb},
    {"QLinearMul", 0x5b},
    {"QLinearSigmoid", 0xb},
    {"QLinearSoftmax", 0xb},
    {"QuantizeLinear", 0x3},
    {"SkipLayerNormalization", 0x7},
    {"SkipSimplifiedLayerNormalization", 0x7},
};

uint32_t ox_rule_required(const char *domain, const char *op)
{
    bool microsoft = strcmp(domain, "com.microsoft") == 0;
    for (size_t i = 0; microsoft && i < sizeof contrib / sizeof *contrib; i++) {
        if (strcmp(contrib[i].op, op) == 0) {
            return contrib[i].bits;
        }
    }
    for (size_t i = 0; !microsoft && i < sizeof standard / sizeof *standard; i++) {
        if (strcmp(standard[i].op, op) == 0) {
            return (UINT32_C(1) << standard[i].count) - 1;
        }
    }
    return 1;
}
