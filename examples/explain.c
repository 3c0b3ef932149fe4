/* Explains a model and runs the result, all in memory.
 *
 *     explain examples/digits/digits.onnx
 *
 * The model has one float input of fixed shape but for its batch. The reference is the zero image,
 * the sample a bright bar in its middle. */
#include <onnxexplainer.h>

#include <stdio.h>
#include <stdlib.h>

static int fail(const ox_error *err)
{
    fprintf(stderr, "explain: %s\n", err->message);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fprintf(stderr, "usage: explain MODEL\n"), 2;

    ox_error err;
    ox_model *model = ox_read(argv[1], &err);
    if (!model)
        return fail(&err);

    static float zeros[28 * 28], bar[28 * 28];
    for (int row = 6; row < 22; row++)
        bar[row * 28 + 13] = bar[row * 28 + 14] = 1;
    const int64_t dims[] = {1, 1, 28, 28};
    ox_tensor reference = {.type = OX_FLOAT, .rank = 4, .dims = dims, .data = zeros};
    ox_tensor sample = {.name = "image", .type = OX_FLOAT, .rank = 4, .dims = dims, .data = bar};

    ox_options options = OX_OPTIONS_INIT;
    options.references = &reference;
    options.reference_count = 1;
    options.gap = true;
    ox_model *explained = ox_explain(model, &options, &err);
    ox_free(model);
    if (!explained)
        return fail(&err);

    ox_session *session = ox_session_open_model(explained, NULL, &err);
    ox_free(explained);
    if (!session)
        return fail(&err);

    const char *const names[] = {"shap_target", "image_shap", "completeness_gap"};
    ox_tensor outputs[3];
    bool done = ox_session_run(session, &sample, 1, names, outputs, 3, &err);
    ox_session_free(session);
    if (!done)
        return fail(&err);

    double sum = 0;
    for (int i = 0; i < 28 * 28; i++)
        sum += ((const float *)outputs[1].data)[i];
    printf("class %lld, sum of SHAP values %.4f, gap %.1e\n",
           (long long)*(const int64_t *)outputs[0].data, sum,
           (double)*(const float *)outputs[2].data);
    for (int i = 0; i < 3; i++)
        ox_tensor_free(&outputs[i]);
    return 0;
}
