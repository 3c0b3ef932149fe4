/* Options of a command: a table that is parsed by, and printed as help. */
#ifndef OX_CLI_OPTIONS_H
#define OX_CLI_OPTIONS_H

#include "cli.h"

enum { OX_TEXTS_MAX = 256 };

/* The values of an option that may be repeated; they belong to argv. */
typedef struct ox_texts {
    const char *items[OX_TEXTS_MAX];
    size_t count;
} ox_texts;

typedef enum ox_option_kind {
    OX_OPTION_FLAG,  /* bool */
    OX_OPTION_TEXT,  /* const char * */
    OX_OPTION_COUNT, /* int64_t, at least 0 */
    OX_OPTION_BYTES, /* uint64_t, with suffix K M G T */
    OX_OPTION_LIST   /* ox_texts */
} ox_option_kind;

typedef struct ox_option {
    const char *name;
    char letter; /* 0: none */
    ox_option_kind kind;
    void *value;          /* written when the option is given, its type as above */
    const char *argument; /* what the help calls the value; NULL for flags */
    const char *help;
} ox_option;

typedef struct ox_command {
    const char *name;
    const char *usage;   /* what follows the name */
    const char *summary; /* paragraph of the help */
    const char *operand; /* what the one operand is called; NULL: there is none */
    ox_texts *more;      /* takes operands after the first; NULL: there are none */
    const ox_option *options;
    size_t option_count;
} ox_command;

/* Rows that several commands have. */
#define OX_ROW_PIXELS(text)                                                                        \
    {                                                                                              \
        "pixels", 0, OX_OPTION_TEXT, text, "LOW:HIGH",                                             \
            "range of pictures, or imagenet (default: 0:1, whole numbers 0:255)"                   \
    }
#define OX_ROW_LIMIT(bytes)                                                                        \
    {                                                                                              \
        "limit", 0, OX_OPTION_BYTES, bytes, "BYTES", "what may be made of the model (default: 1G)" \
    }
#define OX_ROW_THREADS(count)                                                                      \
    {                                                                                              \
        "threads", 0, OX_OPTION_COUNT, count, "T", "threads (default: one per core)"               \
    }
#define OX_ROW_RUNTIME(path)                                                                       \
    {                                                                                              \
        "runtime", 0, OX_OPTION_TEXT, path, "LIB", "the ONNX Runtime library to use"               \
    }
#define OX_ROW_SEED(seed)                                                                          \
    {                                                                                              \
        "seed", 0, OX_OPTION_COUNT, seed, "SEED", "of what is drawn (default: 0)"                  \
    }
#define OX_ROW_QUIET(flag)                                                                         \
    {                                                                                              \
        "quiet", 'q', OX_OPTION_FLAG, flag, NULL, "print nothing but errors and warnings"          \
    }

/* Reads the arguments into the options and the operand. Returns -1 to go on, else the exit code:
 * after --help, after --help=json, which prints the table for programs, or after wrong usage,
 * which it has reported. */
int ox_options_parse(const ox_command *command, int argc, char **argv, const char **operand);

/* Whether sessions can have so many threads; -1, else the exit code of what has been reported. */
int ox_threads_option(const char *command, int64_t threads);

#endif
