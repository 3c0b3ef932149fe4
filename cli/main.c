/* The command line of onnxexplainer: finds the command and runs it. */
#include "cli.h"
#include "guess.h"
#include "json.h"
#include "os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct entry {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} entry;

static const entry commands[] = {
    {"explain", ox_cmd_explain, "make a model that predicts and explains in one call"},
    {"run", ox_cmd_run, "run any ONNX model; print how well SHAP values add up"},
    {"check", ox_cmd_check, "tell whether the values of an explained model can be trusted"},
    {"show", ox_cmd_show, "print inputs, outputs and the rule of every operator"},
    {"ops", ox_cmd_ops, "print the table of operators"},
    {"tune", ox_cmd_tune, "rewrite an explained model for this machine"},
    {"plot", ox_cmd_plot, "draw SHAP values of images"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_help(void)
{
    printf("usage: onnxexplainer COMMAND [OPTION]... FILE\n\n"
           "Makes ONNX models that give a prediction and its Shapley values in one call.\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].help);
    }
    printf("\n\"onnxexplainer COMMAND --help\" prints the options of a command.\n\n"
           "  -h, --help       print this and exit\n"
           "      --version    print the version and exit\n");
}

/* The same for programs, which get the options of each by its own --help=json. */
static void print_json(void)
{
    ox_json json = {.file = stdout};
    ox_json_begin(&json, NULL, '[');
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        ox_json_begin(&json, NULL, '{');
        ox_json_text(&json, "name", commands[i].name);
        ox_json_text(&json, "help", commands[i].help);
        ox_json_end(&json, '}');
    }
    ox_json_end(&json, ']');
    printf("\n");
}

static int refuse(const char *name)
{
    if (!strcmp(name, "report")) {
        return ox_cli_usage(NULL, "\"report\" is of the Python package: python -m onnxexplainer "
                                  "report --help");
    }
    ox_guess guess = ox_guess_begin(name, strlen(name));
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        ox_guess_try(&guess, commands[i].name);
    }
    ox_guess_try(&guess, "--help");
    ox_guess_try(&guess, "--version");
    const char *kind = name[0] == '-' ? "option" : "command";
    return ox_cli_usage(NULL, "unknown %s \"%s\"%s%s%s", kind, name,
                        guess.best ? ", did you mean \"" : "", guess.best ? guess.best : "",
                        guess.best ? "\"?" : "");
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        return ox_cli_usage(NULL, "no command given");
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        print_help();
        return OX_EXIT_OK;
    }
    if (!strcmp(name, "--help=json")) {
        print_json();
        return OX_EXIT_OK;
    }
    if (!strcmp(name, "--version")) {
        printf("onnxexplainer %s\n", OX_VERSION);
        return OX_EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!strcmp(name, commands[i].name)) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return refuse(name);
}

/* A stream forgets why an earlier write failed; one more says so. */
static void ask_again(void)
{
    if (!errno && ox_os_write(OX_OS_OUTPUT, "\n", 1) > 0) {
        errno = EIO;
    }
}

int main(int argc, char **argv)
{
    static const char cut[] = "onnxexplainer: a file of weights was cut while it was in use\n";
    if (!ox_os_begin(cut, OX_EXIT_FAILURE)) {
        return OX_EXIT_FAILURE;
    }
    int code = dispatch(argc, argv);
    errno = 0;
    /* A full disk shows when the last buffer is written. */
    bool written = !fflush(stdout) && !ferror(stdout);
    if (!written && code == OX_EXIT_OK) {
        ask_again();
        ox_error err;
        ox_cli_system_error(&err, "standard output", "write");
        code = ox_cli_fail(&err);
    }
    return code;
}
