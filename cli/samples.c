/* Samples of a model, from the options to the arrays. */
#include "samples.h"

int ox_samples_check(const char *command, ox_samples *s)
{
    if (!s->inputs.count) {
        return ox_cli_usage(command, "no --input given");
    }
    int code = ox_pixels_option(command, s->pixel_text, &s->pixels);
    return code >= 0 ? code : ox_threads_option(command, s->threads);
}

ox_session_options ox_samples_session(const ox_samples *s)
{
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.threads = (int)s->threads;
    options.runtime = s->runtime;
    return options;
}

ox_loader ox_samples_loader(const ox_samples *s, const ox_model *model,
                            const ox_signature *signature)
{
    return (ox_loader){.option = "--input",
                       .model = model,
                       .note = s->quiet ? NULL : ox_cli_note,
                       .inputs = signature->inputs,
                       .count = signature->input_count,
                       .sole = signature->input_count == 1 ? signature->inputs[0].name : NULL,
                       .featured = signature->attributed,
                       .features = signature->features,
                       .feature_count = signature->feature_count,
                       .pixels = s->pixels};
}

bool ox_samples_load(const ox_samples *s, const ox_model *model, const ox_signature *signature,
                     ox_arrays *arrays, ox_error *err)
{
    ox_loader loader = ox_samples_loader(s, model, signature);
    return ox_load(&loader, &s->inputs, arrays, err);
}
