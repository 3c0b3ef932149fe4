/* Output files of the commands, as streams over the library's writer. */
#include "output.h"

#include <string.h>

bool ox_sheet_is_direct(const char *path)
{
    return !strcmp(path, "-") || ox_output_is_direct(path);
}

/* ---- files ----------------------------------------------------------------------------- */

static bool seek_output(void *output, uint64_t position)
{
    return ox_output_seek(output, position);
}

/* What was printed before comes first. */
static const char *prepare(const char *path)
{
    if (ox_sheet_is_direct(path)) {
        fflush(stdout);
    }
    return !strcmp(path, "-") ? "/dev/stdout" : path;
}

bool ox_sheet_begin(ox_sheet *sheet, const char *path, ox_error *err)
{
    *sheet = (ox_sheet){.direct = ox_sheet_is_direct(path)};
    /* Where nothing is to be removed a pipe that nobody reads must not make a signal wait. */
    ox_os_hold(&sheet->held, sheet->direct);
    sheet->output = ox_output_open(prepare(path), err);
    if (sheet->output) {
        ox_os_sink sink = {ox_output_write, seek_output, sheet->output};
        sheet->stream = ox_os_stream_open(sink);
    }
    if (!sheet->stream) {
        if (sheet->output) {
            ox_output_close(sheet->output, false, NULL);
            ox_cli_system_error(err, path, "write");
        }
        ox_os_let(&sheet->held);
        return false;
    }
    sheet->file = ox_os_stream_file(sheet->stream);
    return true;
}

bool ox_sheet_end(ox_sheet *sheet, bool good, ox_error *err)
{
    if (!ox_os_stream_close(sheet->stream) && good) {
        good = ox_cli_system_error(err, "output", "write");
    }
    good = ox_output_close(sheet->output, good, err);
    ox_os_let(&sheet->held);
    return good;
}

bool ox_sheet_model(const ox_model *model, const char *path, bool split, ox_error *err)
{
    ox_os_held held;
    ox_os_hold(&held, ox_sheet_is_direct(path));
    const char *at = prepare(path);
    bool good = split ? ox_write_split(model, at, err) : ox_write(model, at, err);
    ox_os_let(&held);
    return good;
}

/* ---- what must not be replaced --------------------------------------------------------- */

static bool would_replace(const char *output, const char *input)
{
    ox_os_info out, in;
    return ox_os_stat(output, &out) && out.kind == OX_OS_FILE &&
           (strcmp(input, "-") ? ox_os_stat(input, &in) : ox_os_stat_of(OX_OS_INPUT, &in)) &&
           ox_os_same(&in, &out);
}

int ox_sheet_refuse(const char *command, const char *output, const char *what,
                    const char *const *inputs, size_t count)
{
    for (size_t i = 0; output && i < count; i++) {
        const char *equals = strchr(inputs[i], '=');
        if (would_replace(output, inputs[i]) || (equals && would_replace(output, equals + 1))) {
            return ox_cli_usage(command, "%s: the output would replace the %s", output, what);
        }
    }
    return -1;
}

bool ox_sheet_keeps(const ox_model *model, const char *output, ox_error *err)
{
    return !output || !ox_uses(model, output) ||
           ox_cli_error(err, OX_ARGUMENT, "%s: the output would replace weights of the model",
                        output);
}
