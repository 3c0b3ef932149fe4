/* onnxexplainer tune: rewrites an explained model for the machine at hand. */
#include "cli.h"
#include "options.h"
#include "os.h"
#include "output.h"

#include <stdio.h>
#include <string.h>

typedef struct arguments {
    const char *model;
    const char *output;
    int64_t threads;
    uint64_t limit;
    const char *runtime;
    bool split; /* weights in a second file */
    bool quiet;
} arguments;

static int parse(arguments *a, int argc, char **argv)
{
    const ox_option options[] = {
        {"output", 'o', OX_OPTION_TEXT, &a->output, "FILE", "write the tuned model to FILE"},
        {"external-data", 0, OX_OPTION_FLAG, &a->split, NULL,
         "weights in a second file, FILE.HASH.data"},
        OX_ROW_LIMIT(&a->limit),
        OX_ROW_THREADS(&a->threads),
        OX_ROW_RUNTIME(&a->runtime),
        {"quiet", 'q', OX_OPTION_FLAG, &a->quiet, NULL, "print nothing but errors"},
    };
    const ox_command command = {
        .name = "tune",
        .usage = "EXPLAINED -o TUNED [OPTION]...",
        .summary = "Rewrites an explained model for this machine and this ONNX Runtime: the same\n"
                   "values, sooner. The explained model stays what is shipped.",
        .operand = "EXPLAINED",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, &a->model);
    if (code >= 0) {
        return code;
    }
    if (a->output == NULL) {
        return ox_cli_usage("tune", "no --output given");
    }
    code = ox_threads_option("tune", a->threads);
    if (code >= 0) {
        return code;
    }
    if (!strcmp(a->output, "-") && ox_os_is_terminal(OX_OS_OUTPUT)) {
        return ox_cli_usage("tune", "no model is written to a terminal: use -o FILE");
    }
    return ox_sheet_refuse("tune", a->output, "model", &a->model, 1);
}

int ox_cmd_tune(int argc, char **argv)
{
    arguments a = {.model = NULL};
    int code = parse(&a, argc, argv);
    if (code >= 0) {
        return code;
    }
    ox_error err;
    ox_session_options options = OX_SESSION_OPTIONS_INIT;
    options.threads = (int)a.threads;
    options.runtime = a.runtime;
    ox_model *model = ox_cli_read_model(a.model, a.limit, &err);
    bool keeps = model && ox_sheet_keeps(model, a.output, &err);
    if (keeps && !ox_metadata(model, "onnxexplainer.version")) {
        ox_cli_error(&err, OX_ARGUMENT, "%s: not an explained model", a.model);
        ox_free(model);
        return ox_cli_fail(&err);
    }
    ox_model *tuned = keeps ? ox_tune(model, &options, &err) : NULL;
    bool good = tuned && ox_sheet_model(tuned, a.output, a.split, &err);
    ox_free(tuned);
    ox_free(model);
    if (good && !a.quiet && !ox_sheet_is_direct(a.output)) {
        printf("%s\n", a.output);
    }
    return good ? OX_EXIT_OK : ox_cli_fail(&err);
}
