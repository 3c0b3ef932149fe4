"""What the random graphs of test_twin.py leave out of the operators that are explained: why, and the
file that has it. `ms:` is com.microsoft, `ml:` ai.onnx.ml, `ours:` onnxexplainer."""

BEYOND = {
    "test_categories.py": ("categories", """
        ml:LabelEncoder"""),
    "test_golden.py": ("newer than the opsets that are drawn", """
        Swish"""),
    "test_rules_beyond.py": ("integers, truths of missing values, attention: products, Softmax and sums", """
        Attention ms:Attention DequantizeLinear ms:DequantizeLinear DynamicQuantizeLinear
        Equal ml:Imputer IsInf IsNaN ms:MultiHeadAttention QuantizeLinear ms:QuantizeLinear"""),
    "test_rules_contrib.py": ("fused: the parts are drawn", """
        ms:BiasGelu ms:FusedConv ms:FusedGemm ms:FusedMatMul Gelu
        SimplifiedLayerNormalization ms:SkipLayerNormalization
        ms:SkipSimplifiedLayerNormalization"""),
    "test_rules_contrib_decoders.py": ("fused attention: the parts are drawn, its product of three is not", """
        ms:GroupQueryAttention ms:MRotaryEmbedding ms:QAttention RotaryEmbedding
        ms:RotaryEmbedding"""),
    "test_rules_contrib_experts.py": ("experts and states", """
        ms:DynamicQuantizeLSTM LSTM ms:MoE ms:QMoE"""),
    "test_rules_contrib_fused.py": ("fused: the parts are drawn", """
        ms:BiasDropout ms:BiasSoftmax ms:BiasSplitGelu ms:BranchwiseRMSNorm ms:CDist
        CausalConvWithState ms:CausalConvWithState ms:EngramGate ms:ExpandDims
        ms:FusedMatMulActivation ms:GatedAdd ms:GatedRMSNorm ms:GatherND ms:GemmFastGelu
        ms:GemmaRotaryEmbedding GridSample ms:GridSample ms:HyperConnectionPostMix
        ms:HyperConnectionPreMix ms:Inverse LinearAttention ms:LinearAttention
        ms:LinearAttentionGate ms:MatMulInteger16 ms:NhwcFusedConv ms:NhwcMaxPool ms:Pad
        ms:QEmbedLayerNormalization QLinearConv ms:QLinearConv ms:QLinearWhere ms:SampleOp
        ms:ScaledSiLU SwiGLU ms:SwiGLU ms:TorchEmbedding ms:TransposeMatMul ms:Trilu
        ms:UnfoldTensor"""),
    "test_rules_contrib_packed.py": ("packed sequences, states and experts", """
        ms:AttnLSTM ms:GatedDeltaNet ms:MoEGroupRouter ms:VarlenCausalConvWithState
        ms:WordConvEmbedding"""),
    "test_rules_contrib_reference.py": ("fused: the parts are drawn", """
        ms:BiasAdd ms:EmbedLayerNormalization ms:GroupNorm ms:NhwcConv ms:SkipGroupNorm"""),
    "test_rules_contrib_weights.py": ("weights of few bits: a constant made of them, and MatMul", """
        ms:GatherBlockQuantized ms:MatMulBnb4 ms:MatMulNBits"""),
    "test_rules_control.py": ("bodies, sequences and optionals: what is in them", """
        ConcatFromSequence If Loop Optional OptionalGetElement ReduceProd Scan SequenceAt
        SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceMap
        SplitToSequence"""),
    "test_rules_math.py": ("indices along the samples, or products of a known number of values", """
        Compress CumProd DFT Det NegativeLogLikelihoodLoss OneHot STFT ScatterElements
        ScatterND SoftmaxCrossEntropyLoss"""),
    "test_rules_ml.py": ("vectors of features: the parts are drawn", """
        ml:ArrayFeatureExtractor ml:Binarizer ml:FeatureVectorizer ml:LinearClassifier
        ml:Normalizer ml:SVMClassifier ml:SVMRegressor"""),
    "test_rules_move.py": ("indices along the samples, or four axes", """
        GatherElements SpaceToDepth"""),
    "test_rules_product.py": ("a step wherever it wraps", """
        Mod"""),
    "test_rules_quantize.py": ("integers, the rest of rounding", """
        ms:MatMulIntegerToFloat ms:DynamicQuantizeMatMul
        ours:Rounded ConvInteger
        MatMulInteger ms:QGemm ms:QLinearAdd ms:QLinearAveragePool ms:QLinearConcat
        ms:QLinearGlobalAveragePool ms:QLinearLeakyRelu QLinearMatMul ms:QLinearMul
        ms:QLinearSigmoid ms:QLinearSoftmax"""),
    "test_rules_recurrent.py": ("states over steps", """
        GRU RNN"""),
    "test_rules_reduce.py": ("normalisations: the parts are drawn", """
        GroupNormalization LRN MeanVarianceNormalization RMSNormalization"""),
    "test_rules_sample.py": ("images", """
        AffineGrid CenterCropPad Col2Im DeformConv GlobalLpPool LpPool MaxRoiPool MaxUnpool
        RoiAlign"""),
    "test_rules_state.py": ("states", """
        TensorScatter"""),
    "test_rules_trees.py": ("trees", """
        ml:OneHotEncoder ml:TreeEnsemble ml:TreeEnsembleClassifier ml:TreeEnsembleRegressor"""),
    "test_text.py": ("text", """
        ml:CategoryMapper RegexFullMatch StringConcat StringNormalizer"""),
}
