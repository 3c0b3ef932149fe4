/* What the commands of the command line share: exit codes, messages, memory. */
#ifndef OX_CLI_H
#define OX_CLI_H

#include "onnxexplainer.h"

enum { OX_EXIT_OK = 0, OX_EXIT_FAILURE = 1, OX_EXIT_USAGE = 2 };

/* The commands. Each gets the arguments from its own name on and returns the exit code. */
int ox_cmd_explain(int argc, char **argv);
int ox_cmd_run(int argc, char **argv);
int ox_cmd_show(int argc, char **argv);
int ox_cmd_ops(int argc, char **argv);
int ox_cmd_check(int argc, char **argv);
int ox_cmd_tune(int argc, char **argv);
int ox_cmd_plot(int argc, char **argv);

/* Fills err and returns false. NULL for err is allowed. */
bool ox_cli_error(ox_error *err, ox_code code, const char *format, ...);

/* The same for a system call that failed: "PATH: cannot VERB: reason", from errno. */
bool ox_cli_system_error(ox_error *err, const char *path, const char *verb);

/* Prints "onnxexplainer: MESSAGE" to standard error, as one line whatever the names in it hold. */
void ox_cli_say(const char *format, ...);

/* Prints err and returns OX_EXIT_FAILURE. */
int ox_cli_fail(const ox_error *err);

/* Prints the message with a pointer to the command's --help (to the general one where command is
 * NULL) and returns OX_EXIT_USAGE. */
int ox_cli_usage(const char *command, const char *format, ...);

/* ox_note: prints a remark of the library. */
void ox_cli_note(void *user, const char *message);

/* ox_note: prints a warning of the library. */
void ox_cli_warn(void *user, const char *message);

/* How a node or an operator is treated, in words. */
const char *ox_cli_state(ox_state state);

/* Zeroed memory for count elements, to be released by free. NULL and err on failure. */
void *ox_cli_alloc(size_t count, size_t size, ox_error *err);

/* Resizes `old` (NULL allowed) to count elements; on failure it is left as it was. */
void *ox_cli_resize(void *old, size_t count, size_t size, ox_error *err);

char *ox_cli_copy(const char *text, ox_error *err);

/* The formatted text, to be released by free. */
char *ox_cli_format(ox_error *err, const char *format, ...);

bool ox_cli_has_suffix(const char *text, const char *suffix);

/* Whether `text` is the three parts put together. Nothing is allocated, so that want of memory is
 * never taken for a name that is not there. */
bool ox_cli_is_joined(const char *text, const char *first, const char *second, const char *third);

/* What a file holds. */
typedef struct ox_bytes {
    char *data;
    size_t size;
} ox_bytes;

/* Reads a whole file ("-" is standard input). The result ends with a NUL beyond its size. */
char *ox_cli_read_file(const char *path, size_t *size, ox_error *err);

/* Whether a path can be read only once, or has a name that says nothing of its contents: "-",
 * /dev/stdin, pipes. */
bool ox_cli_is_stream(const char *path);

/* Lets the library run references where ONNX Runtime is there, or the options ask for it. Without
 * it the library does what needs no running. False only without memory: it may be there. */
bool ox_cli_find_runtime(ox_options *options, ox_error *err);

/* Reads a model; "-" is standard input. 0: the usual limit. What is the file of another framework
 * is said to be, and how to export it. */
ox_model *ox_cli_read_model(const char *path, uint64_t limit, ox_error *err);

#endif
