/* Parser of long and short options, driven by the table of the command. */
#include "options.h"

#include "guess.h"
#include "json.h"

#include <stdio.h>
#include <string.h>

/* The state of one pass over argv. */
typedef struct parser {
    const ox_command *command;
    int argc;
    char **argv;
    int next; /* the argument to look at next */
} parser;

static void print_help(const ox_command *command)
{
    printf("usage: onnxexplainer %s %s\n\n%s\n\n", command->name, command->usage, command->summary);
    for (size_t i = 0; i < command->option_count; i++) {
        const ox_option *o = &command->options[i];
        char letter[8] = "   ", name[64];
        if (o->letter) {
            snprintf(letter, sizeof letter, "-%c,", o->letter);
        }
        snprintf(name, sizeof name, "--%s%s%s", o->name, o->argument ? "=" : "",
                 o->argument ? o->argument : "");
        const char *again = o->kind == OX_OPTION_LIST ? "; may be repeated" : "";
        printf("  %s %-26s %s%s\n", letter, name, o->help, again);
    }
    printf("  -h, %-26s %s\n", "--help", "print this and exit");
}

/* The same for programs that make bindings, manuals and completions. */
static void print_json(const ox_command *command)
{
    static const char *const kinds[] = {[OX_OPTION_FLAG] = "flag",
                                        [OX_OPTION_TEXT] = "text",
                                        [OX_OPTION_COUNT] = "count",
                                        [OX_OPTION_BYTES] = "bytes",
                                        [OX_OPTION_LIST] = "list"};
    ox_json json = {.file = stdout};
    ox_json_begin(&json, NULL, '{');
    ox_json_text(&json, "name", command->name);
    ox_json_text(&json, "usage", command->usage);
    ox_json_text(&json, "summary", command->summary);
    ox_json_text(&json, "operand", command->operand);
    ox_json_begin(&json, "options", '[');
    for (size_t i = 0; i < command->option_count; i++) {
        const ox_option *o = &command->options[i];
        const char letter[] = {o->letter, 0};
        ox_json_begin(&json, NULL, '{');
        ox_json_text(&json, "name", o->name);
        ox_json_text(&json, "letter", o->letter ? letter : NULL);
        ox_json_text(&json, "kind", kinds[o->kind]);
        ox_json_text(&json, "argument", o->argument);
        ox_json_text(&json, "help", o->help);
        ox_json_end(&json, '}');
    }
    ox_json_end(&json, ']');
    ox_json_end(&json, '}');
    printf("\n");
}

/* Decimal digits with an optional suffix of binary thousands. */
static bool parse_number(const char *text, bool suffix, uint64_t limit, uint64_t *number)
{
    uint64_t n = 0;
    const char *c = text;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (n > (limit - digit) / 10) {
            return false;
        }
        n = n * 10 + digit;
    }
    if (c == text) {
        return false;
    }
    const char *units = "KMGT";
    const char *unit = suffix && *c ? strchr(units, *c) : NULL;
    if (unit) {
        int shift = 10 * (int)(unit - units + 1);
        if (n > limit >> shift) {
            return false;
        }
        n <<= shift;
        c++;
    }
    *number = n;
    return !*c;
}

static int store(const parser *p, const ox_option *o, const char *text)
{
    const char *command = p->command->name;
    uint64_t number = 0;
    switch (o->kind) {
    case OX_OPTION_FLAG: *(bool *)o->value = true; break;
    case OX_OPTION_TEXT: *(const char **)o->value = text; break;
    case OX_OPTION_COUNT:
        if (!parse_number(text, false, INT64_MAX, &number)) {
            return ox_cli_usage(command, "--%s: \"%s\" is not a number", o->name, text);
        }
        *(int64_t *)o->value = (int64_t)number;
        break;
    case OX_OPTION_BYTES:
        if (!parse_number(text, true, UINT64_MAX, &number)) {
            return ox_cli_usage(command, "--%s: \"%s\" is not a size such as 800M", o->name, text);
        }
        *(uint64_t *)o->value = number;
        break;
    case OX_OPTION_LIST: {
        ox_texts *list = o->value;
        if (list->count == OX_TEXTS_MAX) {
            return ox_cli_usage(command, "--%s: given more than %d times", o->name, OX_TEXTS_MAX);
        }
        list->items[list->count++] = text;
        break;
    }
    }
    return -1;
}

static int refuse_long(const ox_command *command, const char *name, size_t length)
{
    ox_guess guess = ox_guess_begin(name, length);
    for (size_t i = 0; i < command->option_count; i++) {
        ox_guess_try(&guess, command->options[i].name);
    }
    ox_guess_try(&guess, "help");
    return ox_cli_usage(command->name, "unknown option --%.*s%s%s%s", (int)length, name,
                        guess.best ? ", did you mean --" : "", guess.best ? guess.best : "",
                        guess.best ? "?" : "");
}

static int parse_long(parser *p, const char *argument)
{
    const char *command = p->command->name;
    const char *equals = strchr(argument, '=');
    size_t length = equals ? (size_t)(equals - argument) : strlen(argument);
    if (length == 4 && !strncmp(argument, "help", 4)) {
        if (equals && !strcmp(equals + 1, "json")) {
            print_json(p->command);
        } else {
            print_help(p->command);
        }
        return OX_EXIT_OK;
    }
    for (size_t i = 0; i < p->command->option_count; i++) {
        const ox_option *o = &p->command->options[i];
        if (strlen(o->name) != length || strncmp(o->name, argument, length) != 0) {
            continue;
        }
        if (o->kind == OX_OPTION_FLAG) {
            return equals ? ox_cli_usage(command, "--%s takes no value", o->name)
                          : store(p, o, NULL);
        }
        if (equals) {
            return store(p, o, equals + 1);
        }
        if (p->next == p->argc) {
            return ox_cli_usage(command, "--%s needs a value", o->name);
        }
        return store(p, o, p->argv[p->next++]);
    }
    return refuse_long(p->command, argument, length);
}

/* A cluster such as "-qo" or "-oFILE". */
static int parse_short(parser *p, const char *letters)
{
    const char *command = p->command->name;
    for (const char *c = letters; *c; c++) {
        if (*c == 'h') {
            print_help(p->command);
            return OX_EXIT_OK;
        }
        const ox_option *o = NULL;
        for (size_t i = 0; i < p->command->option_count; i++) {
            if (p->command->options[i].letter == *c) {
                o = &p->command->options[i];
            }
        }
        if (!o) {
            return ox_cli_usage(command, "unknown option -%c", *c);
        }
        const char *value = c + 1;
        bool flag = o->kind == OX_OPTION_FLAG;
        if (!flag && !*value) {
            if (p->next == p->argc) {
                return ox_cli_usage(command, "-%c needs a value", *c);
            }
            value = p->argv[p->next++];
        }
        int code = store(p, o, value);
        if (code >= 0 || !flag) {
            return code;
        }
    }
    return -1;
}

int ox_options_parse(const ox_command *command, int argc, char **argv, const char **operand)
{
    parser p = {.command = command, .argc = argc, .argv = argv, .next = 1};
    bool options = true;
    const char *found = NULL;
    while (p.next < argc) {
        const char *argument = argv[p.next++];
        int code = -1;
        if (options && !strcmp(argument, "--")) {
            options = false;
        } else if (options && !strncmp(argument, "--", 2)) {
            code = parse_long(&p, argument + 2);
        } else if (options && argument[0] == '-' && argument[1]) {
            code = parse_short(&p, argument + 1);
        } else if (found && command->more && command->more->count < OX_TEXTS_MAX) {
            command->more->items[command->more->count++] = argument;
        } else if (!command->operand || found) {
            code = ox_cli_usage(command->name, "unexpected argument \"%s\"", argument);
        } else {
            found = argument;
        }
        if (code >= 0) {
            return code;
        }
    }
    if (command->operand && !found) {
        return ox_cli_usage(command->name, "no %s given", command->operand);
    }
    if (operand) {
        *operand = found;
    }
    return -1;
}

int ox_threads_option(const char *command, int64_t threads)
{
    return threads <= OX_MAX_THREADS
               ? -1
               : ox_cli_usage(command, "--threads: %lld are too many", (long long)threads);
}
