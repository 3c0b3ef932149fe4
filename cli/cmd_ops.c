/* onnxexplainer ops: prints the table of operators. */
#include "json.h"
#include "options.h"

#include <stdio.h>
#include <string.h>

static const char *domain_text(const char *domain)
{
    return domain && *domain ? domain : "ai.onnx";
}

static void print_json(const ox_rule_info *rules, size_t count)
{
    ox_json json = {.file = stdout};
    ox_json_begin(&json, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        ox_json_begin(&json, NULL, '{');
        ox_json_text(&json, "domain", domain_text(rules[i].domain));
        ox_json_text(&json, "op", rules[i].op);
        ox_json_text(&json, "state", ox_cli_state(rules[i].state));
        ox_json_text(&json, "formula", rules[i].formula ? rules[i].formula : "");
        ox_json_end(&json, '}');
    }
    ox_json_end(&json, ']');
    printf("\n");
}

/* A pipe would end the cell. */
static void print_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|') {
            putchar('\\');
        }
        putchar(*text);
    }
}

static void print_markdown(const ox_rule_info *rules, size_t count)
{
    printf("# Operators\n\n"
           "Printed by `onnxexplainer ops --markdown`: every operator of the ONNX standard. "
           "*Differentiated*\noperators have a rule of their own, *decomposed* ones use the rules "
           "of the operators that they are\nmade of, through those that *carry nothing* no "
           "contribution flows, and models in which a contribution\nreaches a *refused* one are "
           "refused for the reason given.\n\n"
           "| operator | domain | state | rule |\n| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < count; i++) {
        printf("| %s | %s | %s | ", rules[i].op, domain_text(rules[i].domain),
               ox_cli_state(rules[i].state));
        print_cell(rules[i].formula ? rules[i].formula : "");
        printf(" |\n");
    }
}

static void print_plain(const ox_rule_info *rules, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool other = strcmp(domain_text(rules[i].domain), "ai.onnx") != 0;
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", other ? rules[i].domain : "", other ? "." : "",
                 rules[i].op);
        printf("%-24s %-16s %s\n", name, ox_cli_state(rules[i].state),
               rules[i].formula ? rules[i].formula : "");
    }
}

int ox_cmd_ops(int argc, char **argv)
{
    bool json = false, markdown = false;
    const ox_option options[] = {
        {"json", 0, OX_OPTION_FLAG, &json, NULL, "as JSON"},
        {"markdown", 0, OX_OPTION_FLAG, &markdown, NULL, "as a Markdown page"},
    };
    const ox_command command = {
        .name = "ops",
        .usage = "[--json | --markdown]",
        .summary = "Prints how each operator is treated.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    int code = ox_options_parse(&command, argc, argv, NULL);
    if (code >= 0) {
        return code;
    }
    if (json && markdown) {
        return ox_cli_usage("ops", "--json and --markdown exclude each other");
    }
    size_t count;
    const ox_rule_info *rules = ox_rules(&count);
    if (json) {
        print_json(rules, count);
    } else if (markdown) {
        print_markdown(rules, count);
    } else {
        print_plain(rules, count);
    }
    return OX_EXIT_OK;
}
